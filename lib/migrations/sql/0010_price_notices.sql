-- Who is to be told of a new price, and what it does to their month. Sent once somebody approves it.
CREATE TABLE price_notices (
    price_id BIGINT NOT NULL,
    customer_id BIGINT NOT NULL,
    -- The month `valid_from`, as booked when the price was saved.
    before NUMERIC(24, 2),
    after NUMERIC(24, 2),
    state TEXT DEFAULT 'prepared' NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    sent_by BIGINT,
    CONSTRAINT price_notices_pkey PRIMARY KEY (price_id, customer_id),
    CONSTRAINT price_notices_price_id_fkey FOREIGN KEY (price_id) REFERENCES prices (id),
    CONSTRAINT price_notices_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers (id),
    CONSTRAINT price_notices_sent_by_fkey FOREIGN KEY (sent_by) REFERENCES staff (id),
    CONSTRAINT price_notices_state_known_check CHECK (state IN ('prepared', 'sent', 'dropped')),
    CONSTRAINT price_notices_sent_is_complete_check CHECK ((state = 'sent') = (sent_at IS NOT NULL))
);
CREATE INDEX price_notices_customer_id_idx ON price_notices (customer_id);
