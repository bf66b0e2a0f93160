-- Keys that bring a customer IPs for some months, at a price of their own. Each is used once.
CREATE TABLE project_keys (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    digest BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    ending TEXT NOT NULL,
    ips INTEGER NOT NULL,
    months INTEGER NOT NULL,
    purchase_price NUMERIC(24, 2) NOT NULL,
    redeem_until DATE,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    customer_id BIGINT,
    redeemed_at TIMESTAMP WITH TIME ZONE,
    redeemed_by BIGINT,
    from_day DATE,
    until_day DATE,
    charging TEXT,
    selling_price NUMERIC(24, 2),
    CONSTRAINT project_keys_pkey PRIMARY KEY (id),
    CONSTRAINT project_keys_digest_key UNIQUE (digest),
    CONSTRAINT project_keys_ips_range_check CHECK (ips BETWEEN 1 AND 10000000),
    CONSTRAINT project_keys_months_range_check CHECK (months BETWEEN 1 AND 120),
    CONSTRAINT project_keys_purchase_price_not_negative_check CHECK (purchase_price >= 0),
    CONSTRAINT project_keys_charging_known_check CHECK (charging IN ('once','monthly')),
    CONSTRAINT project_keys_redeemed_is_complete_check CHECK (num_nulls(customer_id, redeemed_at, from_day, until_day, charging, selling_price) IN (0, 6) AND (redeemed_by IS NULL OR redeemed_at IS NOT NULL)),
    CONSTRAINT project_keys_period_not_empty_check CHECK (until_day > from_day),
    CONSTRAINT project_keys_selling_price_not_negative_check CHECK (selling_price >= 0),
    CONSTRAINT project_keys_recorded_by_fkey FOREIGN KEY(recorded_by) REFERENCES staff (id),
    CONSTRAINT project_keys_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT project_keys_redeemed_by_fkey FOREIGN KEY(redeemed_by) REFERENCES staff (id),
    -- One at a time: IPs have one price on each day.
    CONSTRAINT project_keys_one_at_a_time EXCLUDE USING gist (customer_id WITH =, daterange(from_day, until_day) WITH &&) WHERE (customer_id IS NOT NULL)
);
CREATE INDEX project_keys_customer_id_idx ON project_keys (customer_id, from_day) WHERE customer_id IS NOT NULL;

-- What was redeemed stays as it was: only its secret is sealed anew when the vault's key changes.
CREATE FUNCTION project_keys_used_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM refuse('project_key_is_used', 'A project key that was redeemed is not deleted.');
    END IF;
    IF (NEW.id, NEW.ending, NEW.ips, NEW.months, NEW.purchase_price, NEW.redeem_until, NEW.customer_id, NEW.redeemed_at,
        NEW.redeemed_by, NEW.from_day, NEW.until_day, NEW.charging, NEW.selling_price)
       IS DISTINCT FROM
       (OLD.id, OLD.ending, OLD.ips, OLD.months, OLD.purchase_price, OLD.redeem_until, OLD.customer_id, OLD.redeemed_at,
        OLD.redeemed_by, OLD.from_day, OLD.until_day, OLD.charging, OLD.selling_price) THEN
        PERFORM refuse('project_key_is_used', 'A project key that was redeemed never changes.');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER project_keys_used_once BEFORE UPDATE OR DELETE ON project_keys FOR EACH ROW
    WHEN (OLD.redeemed_at IS NOT NULL) EXECUTE FUNCTION project_keys_used_once();
CREATE TRIGGER project_keys_never_truncated BEFORE TRUNCATE ON project_keys EXECUTE FUNCTION append_only();

-- The ledger says by which key IPs are there, so that it alone says what they cost. The end of a key is its 0.
ALTER TABLE bookings
    ADD COLUMN project_key_id BIGINT,
    ADD CONSTRAINT bookings_project_key_id_fkey FOREIGN KEY (project_key_id) REFERENCES project_keys (id),
    ADD CONSTRAINT bookings_only_ips_by_key_check CHECK (project_key_id IS NULL OR kind = 'ips');
CREATE INDEX bookings_project_key_id_idx ON bookings (project_key_id) WHERE project_key_id IS NOT NULL;

CREATE OR REPLACE VIEW standing_bookings AS
SELECT DISTINCT ON (customer_id, product_id, effective_on)
       id, customer_id, product_id, kind, effective_on, quantity, internal, external, recorded_at, recorded_by,
       project_key_id
  FROM bookings b
 WHERE voids IS NULL
   AND NOT EXISTS (SELECT FROM bookings v WHERE v.voids = b.id AND v.voids IS NOT NULL)
 ORDER BY customer_id, product_id, effective_on, id DESC;

-- A key starts a stretch of its own, also where the quantity stays: a key has one quantity, so either tells them apart.
CREATE OR REPLACE VIEW booked_spans AS
SELECT customer_id, product_id, quantity, from_day, until_day, project_key_id
  FROM (SELECT customer_id, product_id, quantity, effective_on AS from_day, project_key_id,
               lead(effective_on) OVER (PARTITION BY customer_id, product_id ORDER BY effective_on) AS until_day
          FROM (SELECT customer_id, product_id, effective_on, quantity, project_key_id, held,
                       lag(held, 1, 0::bigint) OVER (PARTITION BY customer_id, product_id ORDER BY effective_on) AS before
                  FROM (SELECT customer_id, product_id, effective_on, quantity, project_key_id,
                               CASE WHEN project_key_id IS NULL OR quantity = 0 THEN quantity ELSE -project_key_id END AS held
                          FROM standing_bookings) told) changed
         WHERE held <> before) kept
 WHERE quantity > 0;

-- The first day of a key that counts. A function, so that the planner of each rating doesn't look at the view in it:
-- it is asked for the few stretches by key alone.
CREATE FUNCTION project_key_begins(of_customer bigint, first_day date, after_last date) RETURNS date
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (SELECT min(greatest(c.from_day, first_day)) FROM counting_spans c
             WHERE c.customer_id = of_customer AND c.from_day < after_last
               AND (c.until_day IS NULL OR c.until_day > first_day));
END $$;

CREATE OR REPLACE FUNCTION bookings_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM require_open(min(effective_on)) FROM new_rows;
    IF EXISTS (SELECT FROM new_rows n JOIN bookings b ON b.id = n.voids
                WHERE (b.customer_id, b.product_id, b.effective_on) IS DISTINCT FROM (n.customer_id, n.product_id, n.effective_on)
                   OR b.voids IS NOT NULL) THEN
        PERFORM refuse('void_matches_booking', 'A voiding row repeats the customer, product and day of the booking it takes back.');
    END IF;
    IF EXISTS (SELECT FROM new_rows n JOIN project_keys k ON k.id = n.project_key_id
                WHERE n.customer_id IS DISTINCT FROM k.customer_id
                   OR NOT CASE WHEN n.quantity = 0 THEN n.effective_on = k.until_day
                               ELSE n.quantity = k.ips AND n.effective_on >= k.from_day AND n.effective_on < k.until_day END) THEN
        PERFORM refuse('booking_matches_key', 'A booking by project key has the customer, the days and the IPs of the key.');
    END IF;
    RETURN NULL;
END $$;
