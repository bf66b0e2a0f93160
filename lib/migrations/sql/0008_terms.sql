-- What the catalogue says of a plan or module that is sold in advance; and the account that its revenue goes to.
ALTER TABLE products
    ADD COLUMN test_days INTEGER,
    ADD COLUMN yearly_price NUMERIC(24, 2),
    ADD COLUMN revenue_account TEXT DEFAULT '' NOT NULL,
    ADD CONSTRAINT products_test_days_range_check CHECK (test_days BETWEEN 1 AND 365),
    ADD CONSTRAINT products_yearly_price_positive_check CHECK (yearly_price > 0),
    ADD CONSTRAINT products_sold_in_advance_check
        CHECK (kind IN ('plan','module') OR test_days IS NULL AND yearly_price IS NULL),
    ADD CONSTRAINT products_revenue_account_digits_check CHECK (revenue_account ~ '^([0-9]{4,8})?$');

CREATE FUNCTION products_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refuse('products_stay', 'A product is withdrawn from sale, never deleted.');
    RETURN NULL;
END $$;
CREATE TRIGGER products_stay BEFORE DELETE OR TRUNCATE ON products EXECUTE FUNCTION products_stay();

-- So many days before a prepaid term ends, its renewal is drafted.
ALTER TABLE company
    ADD COLUMN renewal_days INTEGER DEFAULT 14 NOT NULL,
    ADD CONSTRAINT company_renewal_days_range_check CHECK (renewal_days BETWEEN 1 AND 28);

-- Says of an advance invoice what it prints instead of days: "12 months from receipt of full payment".
ALTER TABLE invoices ADD COLUMN advance_period TEXT DEFAULT '' NOT NULL;
CREATE INDEX invoices_advance_idx ON invoices (issued_on) WHERE advance_period <> '';

CREATE TABLE terms (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL,
    product_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    cycle TEXT NOT NULL,
    state TEXT NOT NULL,
    ordered_on DATE NOT NULL,
    from_day DATE,
    until_day DATE,
    price NUMERIC(24, 2),
    invoice_id BIGINT,
    follows_id BIGINT,
    replaces_id BIGINT,
    next_product_id BIGINT,
    next_cycle TEXT,
    cancelled_at TIMESTAMP WITH TIME ZONE,
    withdrawn_at TIMESTAMP WITH TIME ZONE,
    trial_allowed_again BOOLEAN DEFAULT 'false' NOT NULL,
    renewal_tried_on DATE,
    renewal_refusal TEXT DEFAULT '' NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT terms_pkey PRIMARY KEY (id),
    CONSTRAINT terms_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers (id),
    CONSTRAINT terms_product_fkey FOREIGN KEY (product_id, kind) REFERENCES products (id, kind),
    CONSTRAINT terms_next_product_fkey FOREIGN KEY (next_product_id, kind) REFERENCES products (id, kind),
    CONSTRAINT terms_invoice_id_fkey FOREIGN KEY (invoice_id) REFERENCES invoices (id),
    CONSTRAINT terms_follows_id_fkey FOREIGN KEY (follows_id) REFERENCES terms (id),
    CONSTRAINT terms_replaces_id_fkey FOREIGN KEY (replaces_id) REFERENCES terms (id),
    CONSTRAINT terms_recorded_by_fkey FOREIGN KEY (recorded_by) REFERENCES staff (id),
    CONSTRAINT terms_kind_known_check CHECK (kind IN ('plan','module')),
    CONSTRAINT terms_cycle_known_check CHECK (cycle IN ('free','trial','monthly','yearly')),
    CONSTRAINT terms_next_cycle_known_check CHECK (next_cycle IN ('monthly','yearly')),
    CONSTRAINT terms_next_is_whole_check CHECK ((next_product_id IS NULL) = (next_cycle IS NULL)),
    CONSTRAINT terms_state_known_check CHECK (state IN ('waiting','active','void')),
    CONSTRAINT terms_active_has_start_check CHECK (state <> 'active' OR from_day IS NOT NULL),
    CONSTRAINT terms_period_not_empty_check CHECK (until_day > from_day),
    CONSTRAINT terms_only_free_is_endless_check CHECK (cycle = 'free' OR state <> 'active' OR until_day IS NOT NULL),
    CONSTRAINT terms_only_paid_waits_check
        CHECK (state <> 'waiting' OR cycle IN ('monthly','yearly') AND from_day IS NULL AND until_day IS NULL),
    CONSTRAINT terms_paid_has_price_check CHECK ((cycle IN ('monthly','yearly')) = (price IS NOT NULL)),
    CONSTRAINT terms_paid_has_invoice_check
        CHECK (state = 'void' OR (cycle IN ('monthly','yearly')) = (invoice_id IS NOT NULL)),
    CONSTRAINT terms_price_not_negative_check CHECK (price >= 0),
    -- Two that overlap: of one product, and of any two plans.
    CONSTRAINT terms_no_overlap EXCLUDE USING gist
        (customer_id WITH =, product_id WITH =, daterange(from_day, until_day) WITH &&) WHERE (state = 'active'),
    CONSTRAINT terms_one_plan EXCLUDE USING gist
        (customer_id WITH =, daterange(from_day, until_day) WITH &&) WHERE (state = 'active' AND kind = 'plan')
);

CREATE INDEX terms_customer_id_idx ON terms (customer_id, product_id);
CREATE INDEX terms_invoice_id_idx ON terms (invoice_id) WHERE invoice_id IS NOT NULL;
CREATE INDEX terms_waiting_idx ON terms (invoice_id) WHERE state = 'waiting';
CREATE INDEX terms_ends_idx ON terms (until_day) WHERE state = 'active';
CREATE UNIQUE INDEX terms_one_waiting_key ON terms (customer_id, product_id) WHERE state = 'waiting';
CREATE UNIQUE INDEX terms_one_waiting_plan_key ON terms (customer_id) WHERE state = 'waiting' AND kind = 'plan';
CREATE UNIQUE INDEX terms_one_trial_key ON terms (customer_id, product_id)
 WHERE cycle = 'trial' AND NOT trial_allowed_again;
-- A term is renewed once.
CREATE UNIQUE INDEX terms_renewed_once_key ON terms (follows_id) WHERE follows_id IS NOT NULL AND state <> 'void';

-- What a term is stays; what happens to it goes one way.
CREATE FUNCTION terms_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.customer_id, NEW.product_id, NEW.cycle, NEW.ordered_on)
       IS DISTINCT FROM (OLD.customer_id, OLD.product_id, OLD.cycle, OLD.ordered_on)
       OR NEW.price IS DISTINCT FROM OLD.price OR NEW.follows_id IS DISTINCT FROM OLD.follows_id
       OR NEW.replaces_id IS DISTINCT FROM OLD.replaces_id THEN
        PERFORM refuse('terms_step', 'A term stays of its customer, product and cycle.');
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state, NEW.state) NOT IN (('waiting', 'active'), ('waiting', 'void'), ('active', 'void')) THEN
        PERFORM refuse('terms_step', format('A term does not go from %s to %s.', OLD.state, NEW.state));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER terms_step BEFORE UPDATE ON terms FOR EACH ROW EXECUTE FUNCTION terms_step();
CREATE TRIGGER terms_never_deleted BEFORE DELETE OR TRUNCATE ON terms EXECUTE FUNCTION append_only();

-- A plan or module is on one customer either recurring, charged at the close, or a prepaid term; of plans only one at a
-- time of either kind. A term that waits for its payment counts from its order on. Looked at when the transaction ends.
CREATE FUNCTION recurring_or_prepaid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM terms WHERE customer_id = NEW.customer_id AND state <> 'void') THEN
        RETURN NULL;
    END IF;
    IF EXISTS (SELECT FROM terms t
                 JOIN booked_spans b ON b.customer_id = t.customer_id
                  AND daterange(b.from_day, b.until_day) && daterange(coalesce(t.from_day, t.ordered_on), t.until_day)
                 JOIN products p ON p.id = b.product_id
                WHERE t.customer_id = NEW.customer_id AND t.state <> 'void'
                  AND (p.id = t.product_id OR p.kind = 'plan' AND t.kind = 'plan')) THEN
        PERFORM refuse('recurring_or_prepaid', 'A plan or module is either charged at the close or prepaid.');
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER terms_beside_bookings AFTER INSERT OR UPDATE ON terms DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.state <> 'void') EXECUTE FUNCTION recurring_or_prepaid();
CREATE CONSTRAINT TRIGGER bookings_beside_terms AFTER INSERT ON bookings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.kind IN ('plan','module')) EXECUTE FUNCTION recurring_or_prepaid();

-- What was invoiced in advance, in the month in which its document was issued: the term's own lines, negated by a
-- cancellation in the month of that. A discount that was written by hand onto such a document belongs to it, too.
CREATE VIEW term_amounts AS
SELECT date_trunc('month', i.issued_on::timestamp)::date AS month, i.customer_id,
       coalesce(l.product_id, t.product_id, o.product_id) AS product_id, i.id AS invoice_id, i.number, l.position,
       l.name, l.amount
  FROM invoices i
  JOIN invoice_lines l ON l.invoice_id = i.id
  LEFT JOIN terms t ON t.invoice_id = i.id
  LEFT JOIN terms o ON o.invoice_id = i.cancels_id
 WHERE i.advance_period <> '' AND i.issued_on IS NOT NULL;
