-- Which payment methods there are for customers, and what ours need (row G16).
CREATE TABLE payment_methods (
    code TEXT NOT NULL,
    active BOOLEAN DEFAULT true NOT NULL,
    creditor_id TEXT DEFAULT '' NOT NULL,
    version INTEGER DEFAULT 1 NOT NULL,
    CONSTRAINT payment_methods_pkey PRIMARY KEY (code),
    CONSTRAINT payment_methods_code_known_check
        CHECK (code IN ('bank_transfer','direct_debit','card','project_key','free')),
    CONSTRAINT payment_methods_creditor_of_direct_debit_check CHECK (creditor_id = '' OR code = 'direct_debit')
);
-- All are offered, as they were before this table.
INSERT INTO payment_methods (code) VALUES ('bank_transfer'), ('direct_debit'), ('card'), ('project_key'), ('free');
CREATE TRIGGER payment_methods_never_deleted BEFORE DELETE OR TRUNCATE ON payment_methods
    EXECUTE FUNCTION append_only();

-- ------------------------------------------------------------------ SEPA direct debit

-- What a customer signed. The IBAN is sealed by lib/vault.py.
CREATE TABLE mandates (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL,
    reference TEXT NOT NULL,
    holder TEXT NOT NULL,
    iban BYTEA NOT NULL,
    iban_ending TEXT NOT NULL,
    bic TEXT DEFAULT '' NOT NULL,
    signed_on DATE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    CONSTRAINT mandates_pkey PRIMARY KEY (id),
    CONSTRAINT mandates_reference_key UNIQUE (reference),
    CONSTRAINT mandates_reference_plain_check CHECK (reference ~ '^[A-Za-z0-9+?/:().,''-]{1,35}$'),
    CONSTRAINT mandates_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT mandates_recorded_by_fkey FOREIGN KEY(recorded_by) REFERENCES staff (id)
);
CREATE INDEX mandates_customer_id_idx ON mandates (customer_id, id);
CREATE UNIQUE INDEX mandates_one_valid_key ON mandates (customer_id) WHERE revoked_at IS NULL;
CREATE TRIGGER mandates_not_of_erased AFTER INSERT ON mandates REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_of_the_erased();

-- A file for the bank. Its content is sealed; it goes once somebody in it was erased.
CREATE TABLE debit_runs (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    month DATE NOT NULL,
    collect_on DATE NOT NULL,
    message_id TEXT NOT NULL,
    content BYTEA,
    collected_at TIMESTAMP WITH TIME ZONE,
    withdrawn_at TIMESTAMP WITH TIME ZONE,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    CONSTRAINT debit_runs_pkey PRIMARY KEY (id),
    CONSTRAINT debit_runs_message_id_key UNIQUE (message_id),
    CONSTRAINT debit_runs_first_of_month_check CHECK (month = date_trunc('month', month::timestamp)::date),
    CONSTRAINT debit_runs_collected_or_withdrawn_check CHECK (collected_at IS NULL OR withdrawn_at IS NULL),
    CONSTRAINT debit_runs_recorded_by_fkey FOREIGN KEY(recorded_by) REFERENCES staff (id)
);
CREATE TRIGGER debit_runs_never_deleted BEFORE DELETE OR TRUNCATE ON debit_runs EXECUTE FUNCTION append_only();

CREATE TABLE debits (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    run_id BIGINT NOT NULL,
    invoice_id BIGINT NOT NULL,
    mandate_id BIGINT,
    sequence TEXT NOT NULL,
    amount NUMERIC(24, 2) NOT NULL,
    payment_id BIGINT,
    returned_at TIMESTAMP WITH TIME ZONE,
    return_reason TEXT DEFAULT '' NOT NULL,
    CONSTRAINT debits_pkey PRIMARY KEY (id),
    CONSTRAINT debits_amount_positive_check CHECK (amount > 0),
    CONSTRAINT debits_sequence_known_check CHECK (sequence IN ('FRST','RCUR')),
    CONSTRAINT debits_return_has_reason_check CHECK ((returned_at IS NULL) = (return_reason = '')),
    CONSTRAINT debits_run_id_fkey FOREIGN KEY(run_id) REFERENCES debit_runs (id),
    CONSTRAINT debits_invoice_id_fkey FOREIGN KEY(invoice_id) REFERENCES invoices (id),
    CONSTRAINT debits_mandate_id_fkey FOREIGN KEY(mandate_id) REFERENCES mandates (id) ON DELETE SET NULL,
    CONSTRAINT debits_payment_id_fkey FOREIGN KEY(payment_id) REFERENCES payments (id)
);
CREATE INDEX debits_run_id_idx ON debits (run_id, id);
CREATE INDEX debits_mandate_id_idx ON debits (mandate_id);
CREATE INDEX debits_invoice_id_idx ON debits (invoice_id);
-- An invoice is in one run until it came back.
CREATE UNIQUE INDEX debits_once_key ON debits (invoice_id) WHERE returned_at IS NULL;
CREATE TRIGGER debits_never_deleted BEFORE DELETE OR TRUNCATE ON debits EXECUTE FUNCTION append_only();

-- ------------------------------------------------------------------ credit card by Stripe

-- Keys are sealed by lib/vault.py; their endings are shown.
CREATE TABLE stripe_account (
    id INTEGER DEFAULT 1 NOT NULL,
    secret_key BYTEA,
    secret_key_ending TEXT DEFAULT '' NOT NULL,
    publishable_key BYTEA,
    publishable_key_ending TEXT DEFAULT '' NOT NULL,
    webhook_secret BYTEA,
    webhook_secret_ending TEXT DEFAULT '' NOT NULL,
    mode TEXT DEFAULT '' NOT NULL,
    account_name TEXT DEFAULT '' NOT NULL,
    tested_at TIMESTAMP WITH TIME ZONE,
    version INTEGER DEFAULT 1 NOT NULL,
    CONSTRAINT stripe_account_pkey PRIMARY KEY (id),
    CONSTRAINT stripe_account_single_row_check CHECK (id = 1),
    CONSTRAINT stripe_account_mode_known_check CHECK (mode IN ('','test','live'))
);
INSERT INTO stripe_account DEFAULT VALUES;

-- Whom Stripe knows as which customer, and the card that is saved there: never its number.
CREATE TABLE stripe_cards (
    customer_id BIGINT NOT NULL,
    mode TEXT NOT NULL,
    stripe_customer TEXT NOT NULL,
    payment_method TEXT DEFAULT '' NOT NULL,
    brand TEXT DEFAULT '' NOT NULL,
    ending TEXT DEFAULT '' NOT NULL,
    expires TEXT DEFAULT '' NOT NULL,
    saved_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT stripe_cards_pkey PRIMARY KEY (customer_id, mode),
    CONSTRAINT stripe_cards_stripe_customer_key UNIQUE (stripe_customer),
    CONSTRAINT stripe_cards_mode_known_check CHECK (mode IN ('test','live')),
    CONSTRAINT stripe_cards_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id)
);
CREATE TRIGGER stripe_cards_not_of_erased AFTER INSERT ON stripe_cards REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_of_the_erased();

-- What Stripe is asked for, and what became of it: written down before it is asked, so that nothing is lost.
CREATE TABLE stripe_requests (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    key UUID DEFAULT gen_random_uuid() NOT NULL,
    kind TEXT NOT NULL,
    mode TEXT NOT NULL,
    customer_id BIGINT NOT NULL,
    invoice_id BIGINT,
    amount NUMERIC(24, 2),
    currency TEXT DEFAULT '' NOT NULL,
    state TEXT DEFAULT 'new' NOT NULL,
    reference TEXT,
    intent TEXT,
    url TEXT DEFAULT '' NOT NULL,
    return_to TEXT DEFAULT '' NOT NULL,
    received NUMERIC(24, 2) DEFAULT 0 NOT NULL,
    payment_id BIGINT,
    note TEXT DEFAULT '' NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now(),
    attempts INTEGER DEFAULT 0 NOT NULL,
    leased_until TIMESTAMP WITH TIME ZONE,
    last_error TEXT DEFAULT '' NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    CONSTRAINT stripe_requests_pkey PRIMARY KEY (id),
    CONSTRAINT stripe_requests_key_key UNIQUE (key),
    CONSTRAINT stripe_requests_reference_key UNIQUE (reference),
    CONSTRAINT stripe_requests_intent_key UNIQUE (intent),
    CONSTRAINT stripe_requests_kind_known_check CHECK (kind IN ('setup','payment','charge','erasure')),
    CONSTRAINT stripe_requests_mode_known_check CHECK (mode IN ('test','live')),
    CONSTRAINT stripe_requests_state_known_check CHECK (state IN ('new','open','done','failed','expired')),
    CONSTRAINT stripe_requests_payment_names_invoice_check
        CHECK ((kind IN ('payment','charge')) = (invoice_id IS NOT NULL)
               AND (invoice_id IS NULL) = (amount IS NULL) AND amount > 0),
    CONSTRAINT stripe_requests_received_not_negative_check CHECK (received >= 0),
    CONSTRAINT stripe_requests_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT stripe_requests_invoice_id_fkey FOREIGN KEY(invoice_id) REFERENCES invoices (id),
    CONSTRAINT stripe_requests_payment_id_fkey FOREIGN KEY(payment_id) REFERENCES payments (id),
    CONSTRAINT stripe_requests_recorded_by_fkey FOREIGN KEY(recorded_by) REFERENCES staff (id)
);
CREATE INDEX stripe_requests_due_idx ON stripe_requests (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX stripe_requests_customer_id_idx ON stripe_requests (customer_id, id);
-- One way to pay an invoice by card at a time, and one page to save a card on.
CREATE UNIQUE INDEX stripe_requests_one_open_key ON stripe_requests (invoice_id)
 WHERE state IN ('new','open') AND kind IN ('payment','charge');
CREATE UNIQUE INDEX stripe_requests_one_setup_key ON stripe_requests (customer_id)
 WHERE state IN ('new','open') AND kind = 'setup';
CREATE INDEX stripe_requests_invoice_id_idx ON stripe_requests (invoice_id) WHERE invoice_id IS NOT NULL;
CREATE TRIGGER stripe_requests_never_deleted BEFORE DELETE OR TRUNCATE ON stripe_requests
    EXECUTE FUNCTION append_only();

-- What Stripe told us, each event once; nothing of its content.
CREATE TABLE stripe_events (
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    mode TEXT NOT NULL,
    outcome TEXT NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT stripe_events_pkey PRIMARY KEY (event_id)
);
