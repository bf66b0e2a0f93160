-- What was paid on documents: rows that are never changed. A reversal is a row of its own with the negated amount.
CREATE TABLE payments (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    invoice_id BIGINT NOT NULL,
    amount NUMERIC(24, 2) NOT NULL,
    paid_on DATE NOT NULL,
    method TEXT NOT NULL,
    reference TEXT DEFAULT '' NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    reverses_id BIGINT,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    CONSTRAINT payments_pkey PRIMARY KEY (id),
    CONSTRAINT payments_amount_not_zero_check CHECK (amount <> 0),
    CONSTRAINT payments_reversal_is_negative_check CHECK ((reverses_id IS NULL) = (amount > 0)),
    CONSTRAINT payments_reversal_has_reason_check CHECK ((reverses_id IS NULL) = (reason = '')),
    CONSTRAINT payments_method_known_check CHECK (method IN ('bank_transfer','direct_debit','card','cash','other')),
    CONSTRAINT payments_invoice_id_fkey FOREIGN KEY(invoice_id) REFERENCES invoices (id),
    CONSTRAINT payments_reverses_id_fkey FOREIGN KEY(reverses_id) REFERENCES payments (id),
    CONSTRAINT payments_recorded_by_fkey FOREIGN KEY(recorded_by) REFERENCES staff (id)
);

CREATE INDEX payments_invoice_id_idx ON payments (invoice_id, id);
CREATE UNIQUE INDEX payments_reversed_once_key ON payments (reverses_id) WHERE reverses_id IS NOT NULL;

CREATE TRIGGER payments_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payments EXECUTE FUNCTION append_only();
