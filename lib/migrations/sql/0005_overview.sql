-- What the Overview shows of 100,000 customers is kept ready, as amounts are: what a charge costs us, and how
-- many of its IPs are internal. NULL in a month's totals: closed before this was kept, so nobody knows.
ALTER TABLE charges
    ADD COLUMN purchase NUMERIC(24, 2),
    ADD COLUMN internal INTEGER;
ALTER TABLE month_totals
    ADD COLUMN purchase NUMERIC(24, 2),
    ADD COLUMN internal BIGINT;

-- Purchase prices with the month from which the next one rules.
CREATE VIEW purchase_spans AS
SELECT product_id, unit_price, valid_from AS from_month,
       lead(valid_from) OVER (PARTITION BY product_id ORDER BY valid_from) AS until_month
  FROM purchase_prices
 WHERE withdrawn_at IS NULL;

CREATE OR REPLACE FUNCTION charges_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE earliest date;
BEGIN
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        WITH added AS (
            INSERT INTO month_totals AS t (month, product_id, amount, charges, quantity, purchase, internal)
            SELECT month, product_id, coalesce(sum(amount), 0), count(*), sum(end_quantity),
                   coalesce(sum(purchase), 0), coalesce(sum(internal), 0)
              FROM new_rows GROUP BY month, product_id ORDER BY month, product_id
            ON CONFLICT (month, product_id) DO UPDATE
               SET amount = t.amount + excluded.amount, charges = t.charges + excluded.charges,
                   quantity = t.quantity + excluded.quantity, purchase = t.purchase + excluded.purchase,
                   internal = t.internal + excluded.internal
            RETURNING month)
        SELECT min(month) INTO earliest FROM added;
        PERFORM require_open(earliest);
    END IF;
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        WITH taken AS (
            INSERT INTO month_totals AS t (month, product_id, amount, charges, quantity, purchase, internal)
            SELECT month, product_id, -coalesce(sum(amount), 0), -count(*), -sum(end_quantity),
                   -coalesce(sum(purchase), 0), -coalesce(sum(internal), 0)
              FROM old_rows GROUP BY month, product_id ORDER BY month, product_id
            ON CONFLICT (month, product_id) DO UPDATE
               SET amount = t.amount + excluded.amount, charges = t.charges + excluded.charges,
                   quantity = t.quantity + excluded.quantity, purchase = t.purchase + excluded.purchase,
                   internal = t.internal + excluded.internal
            RETURNING month)
        SELECT min(month) INTO earliest FROM taken;
        PERFORM require_open(earliest);
    END IF;
    RETURN NULL;
END $$;

-- What takes long to add up in a large company, with the moment it was added up.
CREATE TABLE kept_figures (
    name TEXT NOT NULL,
    day DATE NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    value JSONB NOT NULL,
    CONSTRAINT kept_figures_pkey PRIMARY KEY (name)
);

-- Open months are rated anew when they are next read, now with what they cost us.
DO $$
BEGIN
    IF open_month() IS NOT NULL THEN
        DELETE FROM statements WHERE month >= open_month();
        DELETE FROM charges WHERE month >= open_month();
        DELETE FROM month_totals WHERE month >= open_month();
        DELETE FROM rated_months WHERE month >= open_month();
    END IF;
END $$;

-- Documents that wait for their money, and what warns or ends: looked at on the first page, few of many.
CREATE INDEX invoices_payable_idx ON invoices (due_on) INCLUDE (id, gross, state)
 WHERE kind = 'invoice' AND state IN ('issued', 'partly_paid');
CREATE INDEX quotas_nearly_used_idx ON quotas (customer_id) WHERE used >= 0.8 * amount;
CREATE INDEX quotas_until_day_idx ON quotas (until_day) WHERE until_day IS NOT NULL;
-- Whoever was billed stays in the Cost Overview, also once erased.
CREATE INDEX customers_billed_name_idx ON customers (sort_name, id) INCLUDE (billed_from, ends_on) WHERE phase = 'billed';
