-- The first schema: tables, then the views and rules on them.

CREATE TABLE audit_log (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    staff_id BIGINT,
    action TEXT NOT NULL,
    object_type TEXT NOT NULL,
    object_id TEXT NOT NULL,
    customer_id BIGINT,
    changes JSONB DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id)
);

CREATE INDEX audit_log_at_idx ON audit_log USING brin (at);

CREATE INDEX audit_log_customer_id_idx ON audit_log (customer_id);

CREATE INDEX audit_log_object_idx ON audit_log (object_type, object_id);

CREATE TABLE charges (
    month DATE NOT NULL,
    customer_id BIGINT NOT NULL,
    product_id BIGINT NOT NULL,
    start_quantity INTEGER NOT NULL,
    end_quantity INTEGER NOT NULL,
    changes TEXT DEFAULT '' NOT NULL,
    price_id BIGINT,
    amount NUMERIC(24, 2),
    CONSTRAINT charges_pkey PRIMARY KEY (month, customer_id, product_id)
);

CREATE TABLE company (
    id INTEGER DEFAULT '1' NOT NULL,
    name TEXT DEFAULT '' NOT NULL,
    street TEXT DEFAULT '' NOT NULL,
    postcode TEXT DEFAULT '' NOT NULL,
    city TEXT DEFAULT '' NOT NULL,
    country TEXT DEFAULT 'DE' NOT NULL,
    vat_id TEXT DEFAULT '' NOT NULL,
    tax_number TEXT DEFAULT '' NOT NULL,
    register_entry TEXT DEFAULT '' NOT NULL,
    managing_directors TEXT DEFAULT '' NOT NULL,
    email TEXT DEFAULT '' NOT NULL,
    phone TEXT DEFAULT '' NOT NULL,
    website TEXT DEFAULT '' NOT NULL,
    bank_name TEXT DEFAULT '' NOT NULL,
    iban TEXT DEFAULT '' NOT NULL,
    bic TEXT DEFAULT '' NOT NULL,
    currency TEXT DEFAULT 'EUR' NOT NULL,
    timezone TEXT DEFAULT 'Europe/Berlin' NOT NULL,
    payment_days INTEGER DEFAULT '14' NOT NULL,
    change_threshold_percent INTEGER DEFAULT '30' NOT NULL,
    intro_de TEXT DEFAULT '' NOT NULL,
    intro_en TEXT DEFAULT '' NOT NULL,
    closing_de TEXT DEFAULT '' NOT NULL,
    closing_en TEXT DEFAULT '' NOT NULL,
    self_service_article_name TEXT DEFAULT '' NOT NULL,
    self_service_article_number TEXT DEFAULT '' NOT NULL,
    logo BYTEA,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT company_pkey PRIMARY KEY (id),
    CONSTRAINT company_single_row_check CHECK (id = 1),
    CONSTRAINT company_payment_days_range_check CHECK (payment_days BETWEEN 0 AND 365),
    CONSTRAINT company_threshold_range_check CHECK (change_threshold_percent BETWEEN 1 AND 1000),
    CONSTRAINT company_currency_iso_check CHECK (currency ~ '^[A-Z]{3}$')
);

CREATE TABLE customers (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    number TEXT NOT NULL,
    name TEXT NOT NULL,
    phase TEXT NOT NULL,
    billed_from DATE,
    ends_on DATE,
    active BOOLEAN DEFAULT 'true' NOT NULL,
    deactivation_reason TEXT DEFAULT '' NOT NULL,
    invited_at TIMESTAMP WITH TIME ZONE,
    registered_at TIMESTAMP WITH TIME ZONE,
    locked_at TIMESTAMP WITH TIME ZONE,
    service_mode TEXT DEFAULT 'managed' NOT NULL,
    payment_method TEXT DEFAULT 'bank_transfer' NOT NULL,
    contact_name TEXT DEFAULT '' NOT NULL,
    contact_email TEXT DEFAULT '' NOT NULL,
    phone TEXT DEFAULT '' NOT NULL,
    street TEXT DEFAULT '' NOT NULL,
    postcode TEXT DEFAULT '' NOT NULL,
    city TEXT DEFAULT '' NOT NULL,
    country TEXT DEFAULT 'DE' NOT NULL,
    separate_billing BOOLEAN DEFAULT 'false' NOT NULL,
    billing_name TEXT DEFAULT '' NOT NULL,
    billing_street TEXT DEFAULT '' NOT NULL,
    billing_postcode TEXT DEFAULT '' NOT NULL,
    billing_city TEXT DEFAULT '' NOT NULL,
    billing_country TEXT DEFAULT '' NOT NULL,
    billing_email TEXT DEFAULT '' NOT NULL,
    vat_id TEXT DEFAULT '' NOT NULL,
    vat_id_valid BOOLEAN DEFAULT 'false' NOT NULL,
    vat_id_checked_on DATE,
    tax_number TEXT DEFAULT '' NOT NULL,
    no_tax_id_reason TEXT DEFAULT '' NOT NULL,
    purchase_order TEXT DEFAULT '' NOT NULL,
    language TEXT DEFAULT 'de' NOT NULL,
    payment_days INTEGER,
    max_users INTEGER,
    users_beyond_max BOOLEAN DEFAULT 'false' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    search TEXT GENERATED ALWAYS AS (lower(translate(name || ' ' || number || ' ' || contact_name || ' ' || contact_email || ' ' || vat_id, 'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽ', 'àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷÿźżž'))) STORED,
    sort_name TEXT GENERATED ALWAYS AS (lower(translate(name, 'ÄÖÜäöüßÉÈÊéèêÁÀáàÇç', 'AOUaousEEEeeeAAaaCc'))) STORED,
    CONSTRAINT customers_pkey PRIMARY KEY (id),
    CONSTRAINT customers_phase_known_check CHECK (phase IN ('test','billed')),
    CONSTRAINT customers_billed_has_start_check CHECK ((phase = 'billed') = (billed_from IS NOT NULL)),
    CONSTRAINT customers_name_given_check CHECK (name <> ''),
    CONSTRAINT customers_service_mode_known_check CHECK (service_mode IN ('managed','self_service')),
    CONSTRAINT customers_payment_method_known_check CHECK (payment_method IN ('bank_transfer','direct_debit','card','project_key','free')),
    CONSTRAINT customers_language_known_check CHECK (language IN ('de','en')),
    CONSTRAINT customers_country_iso_check CHECK (country ~ '^[A-Z]{2}$'),
    CONSTRAINT customers_payment_days_range_check CHECK (payment_days BETWEEN 0 AND 365),
    CONSTRAINT customers_max_users_not_negative_check CHECK (max_users >= 0),
    CONSTRAINT customers_number_key UNIQUE (number)
);

CREATE INDEX customers_ends_on_idx ON customers (phase, ends_on, id);

CREATE INDEX customers_name_idx ON customers (phase, sort_name, id) INCLUDE (billed_from, ends_on);

CREATE INDEX customers_number_idx ON customers (phase, number, id) INCLUDE (billed_from, ends_on);

CREATE INDEX customers_search_idx ON customers USING gin (search gin_trgm_ops);

CREATE TABLE month_totals (
    month DATE NOT NULL,
    product_id BIGINT NOT NULL,
    amount NUMERIC(24, 2) NOT NULL,
    charges INTEGER NOT NULL,
    quantity BIGINT NOT NULL,
    CONSTRAINT month_totals_pkey PRIMARY KEY (month, product_id)
);

CREATE TABLE number_series (
    kind TEXT NOT NULL,
    prefix TEXT NOT NULL,
    digits INTEGER DEFAULT '5' NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT number_series_pkey PRIMARY KEY (kind),
    CONSTRAINT number_series_kind_known_check CHECK (kind IN ('invoice','credit_note','cancellation')),
    CONSTRAINT number_series_prefix_plain_check CHECK (prefix ~ '^[A-Z0-9-]{1,10}$'),
    CONSTRAINT number_series_digits_range_check CHECK (digits BETWEEN 3 AND 10),
    CONSTRAINT number_series_prefix_key UNIQUE (prefix)
);

CREATE TABLE products (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    code TEXT NOT NULL,
    kind TEXT NOT NULL,
    measure TEXT NOT NULL,
    name_de TEXT NOT NULL,
    name_en TEXT NOT NULL,
    description_de TEXT DEFAULT '' NOT NULL,
    description_en TEXT DEFAULT '' NOT NULL,
    unit_de TEXT DEFAULT 'Stück' NOT NULL,
    unit_en TEXT DEFAULT 'unit' NOT NULL,
    article_number TEXT DEFAULT '' NOT NULL,
    position INTEGER DEFAULT '100' NOT NULL,
    on_sale BOOLEAN DEFAULT 'true' NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT products_pkey PRIMARY KEY (id),
    CONSTRAINT products_id_kind_key UNIQUE (id, kind),
    CONSTRAINT products_kind_known_check CHECK (kind IN ('users','option','ips','plan','module','adjustment')),
    CONSTRAINT products_measure_known_check CHECK (measure IN ('peak','daily','end','full')),
    CONSTRAINT products_names_given_check CHECK (name_de <> '' AND name_en <> ''),
    CONSTRAINT products_code_plain_check CHECK (code ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
    CONSTRAINT products_code_key UNIQUE (code)
);

CREATE UNIQUE INDEX products_single_kind_idx ON products (kind) WHERE kind IN ('users','ips','adjustment');

CREATE TABLE rated_months (
    month DATE NOT NULL,
    rated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT rated_months_pkey PRIMARY KEY (month)
);

CREATE TABLE requests (
    key UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT requests_pkey PRIMARY KEY (key)
);

CREATE TABLE sellers (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    content JSONB NOT NULL,
    content_hash TEXT NOT NULL,
    logo BYTEA,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT sellers_pkey PRIMARY KEY (id),
    CONSTRAINT sellers_content_hash_key UNIQUE (content_hash)
);

CREATE TABLE sign_in_attempts (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    username TEXT NOT NULL,
    address TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    succeeded BOOLEAN NOT NULL,
    CONSTRAINT sign_in_attempts_pkey PRIMARY KEY (id)
);

CREATE INDEX sign_in_attempts_who_idx ON sign_in_attempts (username, address, at);

CREATE TABLE staff (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    username TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    must_change_password BOOLEAN DEFAULT 'false' NOT NULL,
    email TEXT DEFAULT '' NOT NULL,
    oidc_issuer TEXT,
    oidc_subject TEXT,
    disabled_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT staff_pkey PRIMARY KEY (id),
    CONSTRAINT staff_role_known_check CHECK (role IN ('viewer','sales','finance','admin')),
    CONSTRAINT staff_username_lower_check CHECK (username = lower(username) AND username <> ''),
    CONSTRAINT staff_email_lower_check CHECK (email = lower(email)),
    CONSTRAINT staff_oidc_whole_check CHECK ((oidc_issuer IS NULL) = (oidc_subject IS NULL)),
    CONSTRAINT staff_username_key UNIQUE (username),
    CONSTRAINT staff_oidc_issuer_key UNIQUE (oidc_issuer, oidc_subject)
);

CREATE UNIQUE INDEX staff_email_key ON staff (email) WHERE email <> '';

CREATE TABLE statements (
    customer_id BIGINT NOT NULL,
    month DATE NOT NULL,
    amount NUMERIC(24, 2),
    invoice_id BIGINT,
    CONSTRAINT statements_pkey PRIMARY KEY (customer_id, month)
);

CREATE INDEX statements_amount_idx ON statements (month, amount, customer_id);

CREATE INDEX statements_unbilled_idx ON statements (month) WHERE invoice_id IS NULL AND amount <> 0;

CREATE TABLE vat_rates (
    valid_from DATE NOT NULL,
    rate NUMERIC(5, 2) NOT NULL,
    CONSTRAINT vat_rates_pkey PRIMARY KEY (valid_from),
    CONSTRAINT vat_rates_rate_range_check CHECK (rate BETWEEN 0 AND 100)
);

CREATE TABLE adjustments (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL,
    month DATE NOT NULL,
    month_meant DATE NOT NULL,
    text TEXT NOT NULL,
    amount NUMERIC(24, 2) NOT NULL,
    reason TEXT NOT NULL,
    withdrawn_at TIMESTAMP WITH TIME ZONE,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    CONSTRAINT adjustments_pkey PRIMARY KEY (id),
    CONSTRAINT adjustments_explained_check CHECK (text <> '' AND reason <> ''),
    CONSTRAINT adjustments_amount_not_zero_check CHECK (amount <> 0),
    CONSTRAINT adjustments_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT adjustments_recorded_by_fkey FOREIGN KEY(recorded_by) REFERENCES staff (id)
);

CREATE INDEX adjustments_customer_id_idx ON adjustments (customer_id, month);

CREATE INDEX adjustments_month_idx ON adjustments (month);

CREATE TABLE audit_personal (
    audit_id BIGINT NOT NULL,
    customer_id BIGINT,
    changes JSONB NOT NULL,
    CONSTRAINT audit_personal_pkey PRIMARY KEY (audit_id),
    CONSTRAINT audit_personal_audit_id_fkey FOREIGN KEY(audit_id) REFERENCES audit_log (id)
);

CREATE INDEX audit_personal_customer_id_idx ON audit_personal (customer_id);

CREATE TABLE bookings (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL,
    product_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    effective_on DATE NOT NULL,
    quantity INTEGER,
    internal INTEGER,
    external INTEGER,
    voids BIGINT,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    CONSTRAINT bookings_pkey PRIMARY KEY (id),
    CONSTRAINT bookings_product_fkey FOREIGN KEY(product_id, kind) REFERENCES products (id, kind),
    CONSTRAINT bookings_quantity_or_void_check CHECK ((voids IS NULL) = (quantity IS NOT NULL)),
    CONSTRAINT bookings_quantity_range_check CHECK (quantity BETWEEN 0 AND 10000000),
    CONSTRAINT bookings_switch_is_0_or_1_check CHECK (kind IN ('users','ips') OR quantity IN (0, 1)),
    CONSTRAINT bookings_ip_split_check CHECK (CASE WHEN kind = 'ips' AND voids IS NULL THEN internal >= 0 AND external >= 0 AND internal + external = quantity ELSE internal IS NULL AND external IS NULL END),
    CONSTRAINT bookings_adjustments_are_not_booked_check CHECK (kind <> 'adjustment'),
    CONSTRAINT bookings_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT bookings_voids_fkey FOREIGN KEY(voids) REFERENCES bookings (id),
    CONSTRAINT bookings_recorded_by_fkey FOREIGN KEY(recorded_by) REFERENCES staff (id)
);

CREATE INDEX bookings_ledger_idx ON bookings (customer_id, product_id, effective_on, id DESC);

CREATE UNIQUE INDEX bookings_voided_once_key ON bookings (voids) WHERE voids IS NOT NULL;

CREATE TABLE invoices (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT DEFAULT 'invoice' NOT NULL,
    state TEXT DEFAULT 'draft' NOT NULL,
    number TEXT,
    number_year INTEGER,
    number_index INTEGER,
    customer_id BIGINT NOT NULL,
    month DATE,
    cancels_id BIGINT,
    issued_on DATE,
    due_on DATE,
    service_from DATE NOT NULL,
    service_until DATE NOT NULL,
    language TEXT DEFAULT 'de' NOT NULL,
    currency TEXT DEFAULT 'EUR' NOT NULL,
    purchase_order TEXT DEFAULT '' NOT NULL,
    intro TEXT DEFAULT '' NOT NULL,
    closing TEXT DEFAULT '' NOT NULL,
    net NUMERIC(24, 2) DEFAULT '0' NOT NULL,
    vat NUMERIC(24, 2) DEFAULT '0' NOT NULL,
    gross NUMERIC(24, 2) DEFAULT '0' NOT NULL,
    vat_category TEXT,
    vat_evidence JSONB,
    seller_id BIGINT,
    buyer JSONB,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    created_by BIGINT,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT invoices_pkey PRIMARY KEY (id),
    CONSTRAINT invoices_kind_known_check CHECK (kind IN ('invoice','credit_note','cancellation')),
    CONSTRAINT invoices_state_known_check CHECK (state IN ('draft','issued','partly_paid','paid','written_off','cancelled')),
    CONSTRAINT invoices_issued_is_complete_check CHECK ((state = 'draft') = (number IS NULL) AND (number IS NULL) = (issued_on IS NULL) AND (number IS NULL) = (seller_id IS NULL) AND (number IS NULL OR buyer IS NOT NULL) AND (number IS NULL) = (number_index IS NULL) AND (number IS NULL) = (number_year IS NULL) AND (number IS NULL OR (vat_category IS NOT NULL AND due_on IS NOT NULL))),
    CONSTRAINT invoices_gross_is_net_plus_vat_check CHECK (gross = net + vat),
    CONSTRAINT invoices_service_period_check CHECK (service_until >= service_from),
    CONSTRAINT invoices_cancellation_names_original_check CHECK ((kind = 'cancellation') = (cancels_id IS NOT NULL)),
    CONSTRAINT invoices_vat_category_known_check CHECK (vat_category IN ('S','AE','O'))
);

CREATE UNIQUE INDEX invoices_cancelled_once_key ON invoices (cancels_id) WHERE cancels_id IS NOT NULL;

CREATE INDEX invoices_customer_id_idx ON invoices (customer_id, id);

CREATE INDEX invoices_drafts_idx ON invoices (id) WHERE state = 'draft';

CREATE INDEX invoices_month_idx ON invoices (month, id);

CREATE UNIQUE INDEX invoices_number_key ON invoices (number) WHERE number IS NOT NULL;

CREATE INDEX invoices_unusual_idx ON invoices (state, id) WHERE state IN ('partly_paid', 'written_off', 'cancelled');

CREATE TABLE lifecycle (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL,
    effective_on DATE NOT NULL,
    billed BOOLEAN NOT NULL,
    active BOOLEAN NOT NULL,
    ends_on DATE,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    CONSTRAINT lifecycle_pkey PRIMARY KEY (id),
    CONSTRAINT lifecycle_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT lifecycle_recorded_by_fkey FOREIGN KEY(recorded_by) REFERENCES staff (id)
);

CREATE INDEX lifecycle_customer_id_idx ON lifecycle (customer_id, effective_on, id);

CREATE TABLE months (
    month DATE NOT NULL,
    state TEXT DEFAULT 'open' NOT NULL,
    approved_at TIMESTAMP WITH TIME ZONE,
    approved_by BIGINT,
    locked_at TIMESTAMP WITH TIME ZONE,
    locked_by BIGINT,
    CONSTRAINT months_pkey PRIMARY KEY (month),
    CONSTRAINT months_state_known_check CHECK (state IN ('open','approved','locked')),
    CONSTRAINT months_first_of_month_check CHECK (month = date_trunc('month', month::timestamp)::date),
    CONSTRAINT months_approved_by_fkey FOREIGN KEY(approved_by) REFERENCES staff (id),
    CONSTRAINT months_locked_by_fkey FOREIGN KEY(locked_by) REFERENCES staff (id)
);

CREATE UNIQUE INDEX months_one_open_key ON months ((true)) WHERE state = 'open';

CREATE TABLE number_counters (
    kind TEXT NOT NULL,
    year INTEGER NOT NULL,
    last INTEGER NOT NULL,
    CONSTRAINT number_counters_pkey PRIMARY KEY (kind, year),
    CONSTRAINT number_counters_last_not_negative_check CHECK (last >= 0),
    CONSTRAINT number_counters_kind_fkey FOREIGN KEY(kind) REFERENCES number_series (kind)
);

CREATE TABLE prices (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    product_id BIGINT NOT NULL,
    customer_id BIGINT,
    valid_from DATE NOT NULL,
    returns_to_list BOOLEAN DEFAULT 'false' NOT NULL,
    withdrawn_at TIMESTAMP WITH TIME ZONE,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    CONSTRAINT prices_pkey PRIMARY KEY (id),
    CONSTRAINT prices_from_first_of_month_check CHECK (valid_from = date_trunc('month', valid_from::timestamp)::date),
    CONSTRAINT prices_only_individual_returns_check CHECK (NOT returns_to_list OR customer_id IS NOT NULL),
    CONSTRAINT prices_product_id_fkey FOREIGN KEY(product_id) REFERENCES products (id),
    CONSTRAINT prices_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT prices_recorded_by_fkey FOREIGN KEY(recorded_by) REFERENCES staff (id)
);

CREATE INDEX prices_customer_id_idx ON prices (customer_id) WHERE customer_id IS NOT NULL;

CREATE UNIQUE INDEX prices_version_key ON prices (product_id, customer_id, valid_from) NULLS NOT DISTINCT WHERE withdrawn_at IS NULL;

CREATE TABLE purchase_prices (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    product_id BIGINT NOT NULL,
    valid_from DATE NOT NULL,
    unit_price NUMERIC(26, 4) NOT NULL,
    withdrawn_at TIMESTAMP WITH TIME ZONE,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    CONSTRAINT purchase_prices_pkey PRIMARY KEY (id),
    CONSTRAINT purchase_prices_from_first_of_month_check CHECK (valid_from = date_trunc('month', valid_from::timestamp)::date),
    CONSTRAINT purchase_prices_price_not_negative_check CHECK (unit_price >= 0),
    CONSTRAINT purchase_prices_product_id_fkey FOREIGN KEY(product_id) REFERENCES products (id),
    CONSTRAINT purchase_prices_recorded_by_fkey FOREIGN KEY(recorded_by) REFERENCES staff (id)
);

CREATE UNIQUE INDEX purchase_prices_version_key ON purchase_prices (product_id, valid_from) WHERE withdrawn_at IS NULL;

CREATE TABLE sessions (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    token_hash BYTEA NOT NULL,
    staff_id BIGINT NOT NULL,
    site TEXT DEFAULT 'staff' NOT NULL,
    by_provider BOOLEAN DEFAULT 'false' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_seen_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_token_hash_key UNIQUE (token_hash),
    CONSTRAINT sessions_staff_id_fkey FOREIGN KEY(staff_id) REFERENCES staff (id)
);

CREATE INDEX sessions_staff_id_idx ON sessions (staff_id);

CREATE TABLE sign_in_tickets (
    ticket_hash BYTEA NOT NULL,
    nonce_hash BYTEA NOT NULL,
    staff_id BIGINT NOT NULL,
    identity_hash BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT sign_in_tickets_pkey PRIMARY KEY (ticket_hash),
    CONSTRAINT sign_in_tickets_identity_hash_key UNIQUE (identity_hash),
    CONSTRAINT sign_in_tickets_staff_id_fkey FOREIGN KEY(staff_id) REFERENCES staff (id)
);

CREATE TABLE documents (
    invoice_id BIGINT NOT NULL,
    format TEXT DEFAULT 'pdf' NOT NULL,
    content BYTEA NOT NULL,
    sha256 BYTEA NOT NULL,
    rendered_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT documents_pkey PRIMARY KEY (invoice_id, format),
    CONSTRAINT documents_hash_matches_check CHECK (sha256 = sha256(content)),
    CONSTRAINT documents_invoice_id_fkey FOREIGN KEY(invoice_id) REFERENCES invoices (id)
);

CREATE TABLE invoice_lines (
    invoice_id BIGINT NOT NULL,
    position INTEGER NOT NULL,
    product_id BIGINT,
    from_close BOOLEAN DEFAULT 'false' NOT NULL,
    name TEXT NOT NULL,
    detail TEXT DEFAULT '' NOT NULL,
    quantity NUMERIC(26, 4) NOT NULL,
    unit TEXT DEFAULT '' NOT NULL,
    unit_price NUMERIC(26, 4) NOT NULL,
    amount NUMERIC(24, 2) NOT NULL,
    vat_rate NUMERIC(5, 2),
    service_from DATE,
    service_until DATE,
    CONSTRAINT invoice_lines_pkey PRIMARY KEY (invoice_id, position),
    CONSTRAINT invoice_lines_amount_is_quantity_times_price_check CHECK (amount = round(quantity * unit_price, 2)),
    CONSTRAINT invoice_lines_price_not_negative_check CHECK (unit_price >= 0),
    CONSTRAINT invoice_lines_name_given_check CHECK (name <> '')
);

CREATE INDEX invoice_lines_unrated_idx ON invoice_lines (invoice_id) WHERE vat_rate IS NULL;

CREATE TABLE price_tiers (
    price_id BIGINT NOT NULL,
    first_unit INTEGER NOT NULL,
    last_unit INTEGER,
    unit_price NUMERIC(26, 4) NOT NULL,
    CONSTRAINT price_tiers_pkey PRIMARY KEY (price_id, first_unit),
    CONSTRAINT price_tiers_starts_at_1_or_above_check CHECK (first_unit >= 1),
    CONSTRAINT price_tiers_not_empty_check CHECK (last_unit >= first_unit),
    CONSTRAINT price_tiers_price_not_negative_check CHECK (unit_price >= 0),
    CONSTRAINT price_tiers_price_id_fkey FOREIGN KEY(price_id) REFERENCES prices (id)
);

-- ------------------------------------------------------------------ what a customer has, day by day

-- Subqueries rather than WITH: the planner looks through them, and sees that rows are in order already.

-- The days on which a customer's bookings count: billed, active, not past the end date.
-- Of the rows of one day the later recorded rules; spans that touch are one span.
CREATE VIEW counting_spans AS
SELECT customer_id, min(from_day) AS from_day,
       CASE WHEN bool_or(until_day IS NULL) THEN NULL ELSE max(until_day) END AS until_day
  FROM (SELECT customer_id, from_day, until_day,
               count(*) FILTER (WHERE starts) OVER (PARTITION BY customer_id ORDER BY from_day) AS span
          FROM (SELECT customer_id, from_day, until_day,
                       from_day IS DISTINCT FROM lag(until_day) OVER (PARTITION BY customer_id ORDER BY from_day) AS starts
                  FROM (SELECT customer_id, effective_on AS from_day, least(next_on, ends_on + 1) AS until_day
                          FROM (SELECT customer_id, effective_on, billed, active, ends_on,
                                       lead(effective_on) OVER (PARTITION BY customer_id ORDER BY effective_on, id) AS next_on
                                  FROM lifecycle) standing
                         WHERE billed AND active AND effective_on IS DISTINCT FROM next_on
                           AND (ends_on IS NULL OR ends_on >= effective_on)) counted) marked) grouped
 GROUP BY customer_id, span;

-- The booking that rules from each day on: the last recorded of the day that was not taken back.
CREATE VIEW standing_bookings AS
SELECT DISTINCT ON (customer_id, product_id, effective_on)
       id, customer_id, product_id, kind, effective_on, quantity, internal, external, recorded_at, recorded_by
  FROM bookings b
 WHERE voids IS NULL
   AND NOT EXISTS (SELECT FROM bookings v WHERE v.voids = b.id AND v.voids IS NOT NULL)
 ORDER BY customer_id, product_id, effective_on, id DESC;

-- Stretches of one quantity. Moving IPs between internal and external starts no new one.
CREATE VIEW booked_spans AS
SELECT customer_id, product_id, quantity, from_day, until_day
  FROM (SELECT customer_id, product_id, quantity, effective_on AS from_day,
               lead(effective_on) OVER (PARTITION BY customer_id, product_id ORDER BY effective_on) AS until_day
          FROM (SELECT customer_id, product_id, effective_on, quantity,
                       lag(quantity, 1, 0) OVER (PARTITION BY customer_id, product_id ORDER BY effective_on) AS before
                  FROM standing_bookings) changed
         WHERE quantity <> before) kept
 WHERE quantity > 0;

-- Price versions with the month from which the next one rules.
CREATE VIEW price_spans AS
SELECT id AS price_id, product_id, customer_id, returns_to_list, valid_from AS from_month,
       lead(valid_from) OVER (PARTITION BY product_id, customer_id ORDER BY valid_from) AS until_month
  FROM prices
 WHERE withdrawn_at IS NULL;

-- VAT of each document by rate: on the sum of that rate's lines, rounded once. Lines of an issued
-- document are frozen with their rates, so this is frozen too.
CREATE VIEW invoice_taxes AS
SELECT l.invoice_id, l.vat_rate AS rate, i.vat_category AS category, sum(l.amount) AS net,
       round(sum(l.amount) * l.vat_rate / 100, 2) AS vat
  FROM invoice_lines l
  JOIN invoices i ON i.id = l.invoice_id
 WHERE l.vat_rate IS NOT NULL
 GROUP BY l.invoice_id, l.vat_rate, i.vat_category;

-- ------------------------------------------------------------------ rules that no session gets around

CREATE FUNCTION refuse(rule text, message text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', message USING ERRCODE = 'check_violation', CONSTRAINT = rule;
END $$;

CREATE FUNCTION open_month() RETURNS date LANGUAGE sql STABLE AS
    $$ SELECT month FROM months WHERE state = 'open' $$;

CREATE FUNCTION require_open(earliest date) RETURNS void LANGUAGE plpgsql AS $$
DECLARE first_open date := open_month();
BEGIN
    IF first_open IS NULL THEN
        PERFORM refuse('company_not_set_up', 'The first booking month is not set.');
    ELSIF earliest < first_open THEN
        PERFORM refuse('month_is_closed', format('%s is in a closed month; the first open one is %s.', earliest, first_open));
    END IF;
END $$;

CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refuse('append_only', format('Rows of %s are never changed.', TG_TABLE_NAME));
    RETURN NULL;
END $$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log EXECUTE FUNCTION append_only();
CREATE TRIGGER audit_personal_never_edited BEFORE UPDATE OR TRUNCATE ON audit_personal EXECUTE FUNCTION append_only();
CREATE TRIGGER bookings_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bookings EXECUTE FUNCTION append_only();
CREATE TRIGGER lifecycle_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON lifecycle EXECUTE FUNCTION append_only();
CREATE TRIGGER price_tiers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON price_tiers EXECUTE FUNCTION append_only();
CREATE TRIGGER prices_never_deleted BEFORE DELETE OR TRUNCATE ON prices EXECUTE FUNCTION append_only();
CREATE TRIGGER purchase_prices_never_deleted BEFORE DELETE OR TRUNCATE ON purchase_prices EXECUTE FUNCTION append_only();
CREATE TRIGGER adjustments_never_deleted BEFORE DELETE OR TRUNCATE ON adjustments EXECUTE FUNCTION append_only();
CREATE TRIGGER documents_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON documents EXECUTE FUNCTION append_only();
CREATE TRIGGER sellers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON sellers EXECUTE FUNCTION append_only();
CREATE TRIGGER staff_never_deleted BEFORE DELETE OR TRUNCATE ON staff EXECUTE FUNCTION append_only();
CREATE TRIGGER customers_never_deleted BEFORE DELETE OR TRUNCATE ON customers EXECUTE FUNCTION append_only();

CREATE FUNCTION bookings_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM require_open(min(effective_on)) FROM new_rows;
    IF EXISTS (SELECT FROM new_rows n JOIN bookings b ON b.id = n.voids
                WHERE (b.customer_id, b.product_id, b.effective_on) IS DISTINCT FROM (n.customer_id, n.product_id, n.effective_on)
                   OR b.voids IS NOT NULL) THEN
        PERFORM refuse('void_matches_booking', 'A voiding row repeats the customer, product and day of the booking it takes back.');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER bookings_checked AFTER INSERT ON bookings REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION bookings_checked();

CREATE FUNCTION lifecycle_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM require_open(min(effective_on)) FROM new_rows;
    IF EXISTS (SELECT FROM new_rows n JOIN customers c ON c.id = n.customer_id
                WHERE NOT n.billed AND n.effective_on >= c.billed_from) THEN
        PERFORM refuse('billed_stays_billed', 'A billed customer never becomes a test customer again.');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER lifecycle_checked AFTER INSERT ON lifecycle REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION lifecycle_checked();

CREATE FUNCTION billed_stays_billed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refuse('billed_stays_billed', 'A billed customer never becomes a test customer again.');
    RETURN NULL;
END $$;
CREATE TRIGGER customers_billed_stays_billed BEFORE UPDATE OF phase, billed_from ON customers FOR EACH ROW
    WHEN (OLD.phase = 'billed' AND (NEW.phase <> 'billed' OR NEW.billed_from <> OLD.billed_from))
    EXECUTE FUNCTION billed_stays_billed();

CREATE FUNCTION adjustments_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM require_open(min(month)) FROM new_rows;
    RETURN NULL;
END $$;
CREATE TRIGGER adjustments_checked AFTER INSERT ON adjustments REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION adjustments_checked();

-- A price version, a purchase price or an adjustment is withdrawn at most, and only while its month is open.
CREATE FUNCTION only_withdrawn() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.withdrawn_at IS NOT NULL OR NEW.withdrawn_at IS NULL
       OR to_jsonb(NEW) - 'withdrawn_at' <> to_jsonb(OLD) - 'withdrawn_at' THEN
        PERFORM refuse('append_only', format('Rows of %s are never changed, only withdrawn.', TG_TABLE_NAME));
    END IF;
    PERFORM require_open(CASE TG_TABLE_NAME WHEN 'adjustments' THEN (to_jsonb(OLD) ->> 'month')::date
                                            ELSE (to_jsonb(OLD) ->> 'valid_from')::date END);
    RETURN NEW;
END $$;
CREATE TRIGGER prices_only_withdrawn BEFORE UPDATE ON prices FOR EACH ROW EXECUTE FUNCTION only_withdrawn();
CREATE TRIGGER purchase_prices_only_withdrawn BEFORE UPDATE ON purchase_prices FOR EACH ROW EXECUTE FUNCTION only_withdrawn();
CREATE TRIGGER adjustments_only_withdrawn BEFORE UPDATE ON adjustments FOR EACH ROW EXECUTE FUNCTION only_withdrawn();

CREATE FUNCTION prices_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM require_open(min(valid_from)) FROM new_rows;
    RETURN NULL;
END $$;
CREATE TRIGGER prices_checked AFTER INSERT ON prices REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION prices_checked();
CREATE TRIGGER purchase_prices_checked AFTER INSERT ON purchase_prices REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION prices_checked();

ALTER TABLE price_tiers ADD CONSTRAINT price_tiers_no_overlap
    EXCLUDE USING gist (price_id WITH =, int4range(first_unit, last_unit, '[]') WITH &&);

-- Tiers start at 1, leave no gap, and the last one is open. Looked at when the transaction ends.
CREATE FUNCTION tiers_complete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE tiers record;
BEGIN
    SELECT count(*) AS rows, min(first_unit) AS first, bool_or(last_unit IS NULL) AS open,
           sum(last_unit - first_unit + 1) AS covered, max(first_unit) AS last_first
      INTO tiers FROM price_tiers WHERE price_id = NEW.id;
    IF NEW.returns_to_list AND tiers.rows > 0
       OR NOT NEW.returns_to_list AND (tiers.rows = 0 OR tiers.first <> 1 OR NOT tiers.open
            OR coalesce(tiers.covered, 0) <> tiers.last_first - 1) THEN
        PERFORM refuse('tiers_are_contiguous', 'The ranges of a price start at 1, leave no gap, and the last one is open.');
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER prices_tiers_complete AFTER INSERT ON prices DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION tiers_complete();

-- One plan at a time. Looked at when the transaction ends, so that one plan may follow another.
CREATE FUNCTION one_plan_at_a_time() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM booked_spans a
                 JOIN booked_spans b ON b.customer_id = a.customer_id AND b.product_id > a.product_id
                  AND daterange(a.from_day, a.until_day) && daterange(b.from_day, b.until_day)
                 JOIN products pa ON pa.id = a.product_id AND pa.kind = 'plan'
                 JOIN products pb ON pb.id = b.product_id AND pb.kind = 'plan'
                WHERE a.customer_id = NEW.customer_id) THEN
        PERFORM refuse('one_plan_at_a_time', 'A customer has one plan at a time.');
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER bookings_one_plan AFTER INSERT ON bookings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.kind = 'plan') EXECUTE FUNCTION one_plan_at_a_time();

-- ------------------------------------------------------------------ charges: frozen once closed, and counted

CREATE FUNCTION charges_counted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE earliest date;
BEGIN
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        WITH added AS (
            INSERT INTO month_totals AS t
            SELECT month, product_id, coalesce(sum(amount), 0), count(*), sum(end_quantity)
              FROM new_rows GROUP BY month, product_id ORDER BY month, product_id
            ON CONFLICT (month, product_id) DO UPDATE
               SET amount = t.amount + excluded.amount, charges = t.charges + excluded.charges,
                   quantity = t.quantity + excluded.quantity
            RETURNING month)
        SELECT min(month) INTO earliest FROM added;
        PERFORM require_open(earliest);
    END IF;
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        WITH taken AS (
            INSERT INTO month_totals AS t
            SELECT month, product_id, -coalesce(sum(amount), 0), -count(*), -sum(end_quantity)
              FROM old_rows GROUP BY month, product_id ORDER BY month, product_id
            ON CONFLICT (month, product_id) DO UPDATE
               SET amount = t.amount + excluded.amount, charges = t.charges + excluded.charges,
                   quantity = t.quantity + excluded.quantity
            RETURNING month)
        SELECT min(month) INTO earliest FROM taken;
        PERFORM require_open(earliest);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER charges_inserted AFTER INSERT ON charges REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION charges_counted();
CREATE TRIGGER charges_deleted AFTER DELETE ON charges REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION charges_counted();
CREATE TRIGGER charges_updated AFTER UPDATE ON charges REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION charges_counted();

-- A statement of a closed month only gains or loses its invoice.
CREATE FUNCTION statements_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM require_open(min(month)) FROM new_rows;
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM require_open(min(month)) FROM old_rows;
    ELSE
        PERFORM require_open(min(o.month))
           FROM old_rows o LEFT JOIN new_rows n ON n.month = o.month AND n.customer_id = o.customer_id
          WHERE n.month IS NULL OR n.amount IS DISTINCT FROM o.amount;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER statements_inserted AFTER INSERT ON statements REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION statements_frozen();
CREATE TRIGGER statements_deleted AFTER DELETE ON statements REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION statements_frozen();
CREATE TRIGGER statements_updated AFTER UPDATE ON statements REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION statements_frozen();

CREATE FUNCTION months_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.state <> 'open' THEN PERFORM refuse('month_is_closed', 'A closed month is never removed.'); END IF;
        RETURN OLD;
    END IF;
    IF (OLD.state, NEW.state) NOT IN (('open', 'approved'), ('approved', 'open'), ('approved', 'locked')) OR NEW.month <> OLD.month THEN
        PERFORM refuse('month_steps', format('A month does not go from %s to %s.', OLD.state, NEW.state));
    END IF;
    IF NEW.state = 'open' AND EXISTS (SELECT FROM invoices WHERE month = OLD.month AND state <> 'draft') THEN
        PERFORM refuse('month_has_documents', 'A month with an issued document is not reopened.');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER months_step BEFORE UPDATE OR DELETE ON months FOR EACH ROW EXECUTE FUNCTION months_step();

-- ------------------------------------------------------------------ invoices: what was issued stays as it is

CREATE FUNCTION issued_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM refuse('issued_never_changes', 'An issued document is never deleted.');
    END IF;
    IF NEW.state = 'draft' OR OLD.state = 'cancelled'
       OR to_jsonb(NEW) - '{state,version}'::text[] <> to_jsonb(OLD) - '{state,version}'::text[] THEN
        PERFORM refuse('issued_never_changes', 'An issued document is never changed.');
    END IF;
    RETURN NEW;
END $$;
-- AFTER: a trigger before an update locks each row once more.
CREATE TRIGGER invoices_issued_never_change AFTER UPDATE ON invoices FOR EACH ROW
    WHEN (OLD.state <> 'draft') EXECUTE FUNCTION issued_never_changes();
CREATE TRIGGER invoices_issued_never_deleted BEFORE DELETE ON invoices FOR EACH ROW
    WHEN (OLD.state <> 'draft') EXECUTE FUNCTION issued_never_changes();
CREATE TRIGGER invoices_never_truncated BEFORE TRUNCATE ON invoices EXECUTE FUNCTION append_only();

-- What a close writes by the 100,000 has no foreign keys: those look at one row at a time, and took as long
-- as everything else. These look at all rows of a statement at once, and keep the same promises. EXECUTE, so
-- that each look is planned for its own number of rows rather than for that of the session's first.

-- Neither can vanish later: customers and issued documents are never deleted.
CREATE FUNCTION invoices_name_what_exists() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE astray bigint;
BEGIN
    EXECUTE 'SELECT count(*) FROM new_rows n
              WHERE NOT EXISTS (SELECT FROM customers c WHERE c.id = n.customer_id)
                 OR n.cancels_id IS NOT NULL
                    AND NOT EXISTS (SELECT FROM invoices o WHERE o.id = n.cancels_id AND o.state <> ''draft'')' INTO astray;
    IF astray > 0 THEN
        PERFORM refuse('invoices_name_what_exists', 'A document belongs to a customer, a cancellation to an issued document.');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER invoices_name_what_exists AFTER INSERT ON invoices REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION invoices_name_what_exists();

CREATE FUNCTION references_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refuse('references_stay', format('Rows of %s keep their id and what they belong to.', TG_TABLE_NAME));
    RETURN NULL;
END $$;
CREATE TRIGGER customers_references_stay BEFORE UPDATE OF id ON customers EXECUTE FUNCTION references_stay();
CREATE TRIGGER invoices_references_stay BEFORE UPDATE OF id, customer_id, cancels_id ON invoices EXECUTE FUNCTION references_stay();
CREATE TRIGGER invoice_lines_references_stay BEFORE UPDATE OF invoice_id ON invoice_lines EXECUTE FUNCTION references_stay();

-- Lines belong to a document that exists and is a draft. It is locked, so that nobody deletes or issues it
-- before the line is committed; but not where this transaction wrote it and nobody else sees it yet.
CREATE FUNCTION lines_belong_to_drafts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE elsewhere bigint; astray bigint;
BEGIN
    EXECUTE 'SELECT count(*) FROM new_rows n
              WHERE NOT EXISTS (SELECT FROM invoices i WHERE i.id = n.invoice_id AND i.state = ''draft''
                                   AND i.xmin = pg_current_xact_id()::xid)' INTO elsewhere;
    IF elsewhere = 0 THEN
        RETURN NULL;
    END IF;
    EXECUTE 'WITH held AS MATERIALIZED (
                 SELECT i.id, i.state FROM invoices i WHERE i.id IN (SELECT invoice_id FROM new_rows) FOR SHARE)
             SELECT count(*) FROM new_rows n
              WHERE NOT EXISTS (SELECT FROM held h WHERE h.id = n.invoice_id AND h.state = ''draft'')' INTO astray;
    IF astray > 0 THEN
        PERFORM refuse('issued_never_changes', 'Lines belong to a draft. An issued document is never changed.');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_lines_inserted AFTER INSERT ON invoice_lines REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION lines_belong_to_drafts();
CREATE TRIGGER invoice_lines_updated AFTER UPDATE ON invoice_lines REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION lines_belong_to_drafts();

-- A line goes from a draft, or with it.
CREATE FUNCTION lines_leave_drafts() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE issued bigint;
BEGIN
    EXECUTE 'WITH held AS MATERIALIZED (
                 SELECT i.state FROM invoices i WHERE i.id IN (SELECT invoice_id FROM old_rows) FOR SHARE)
             SELECT count(*) FROM held WHERE state <> ''draft''' INTO issued;
    IF issued > 0 THEN
        PERFORM refuse('issued_never_changes', 'An issued document is never changed.');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER invoice_lines_deleted AFTER DELETE ON invoice_lines REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION lines_leave_drafts();

-- A deleted draft takes its lines with it: also those that a colleague committed while we waited for the
-- draft's lock, which only a statement of READ COMMITTED sees.
CREATE FUNCTION drafts_take_their_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        PERFORM refuse('drafts_take_their_lines', 'Drafts are deleted under READ COMMITTED only.');
    END IF;
    EXECUTE 'DELETE FROM invoice_lines l USING old_rows d WHERE l.invoice_id = d.id';
    RETURN NULL;
END $$;
CREATE TRIGGER invoices_take_their_lines AFTER DELETE ON invoices REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION drafts_take_their_lines();
CREATE TRIGGER invoice_lines_never_truncated BEFORE TRUNCATE ON invoice_lines EXECUTE FUNCTION append_only();

-- ------------------------------------------------------------------ what every installation starts with

CREATE SEQUENCE customer_numbers START 10001;
INSERT INTO company DEFAULT VALUES;
INSERT INTO number_series (kind, prefix) VALUES ('invoice', 'RE'), ('credit_note', 'RK'), ('cancellation', 'ST');
-- German standard rate, § 12 (1) UStG, with the reduction of the second half of 2020 (§ 28 (1) UStG).
INSERT INTO vat_rates (valid_from, rate) VALUES ('2007-01-01', 19), ('2020-07-01', 16), ('2021-01-01', 19);
INSERT INTO products (code, kind, measure, name_de, name_en, unit_de, unit_en, position)
VALUES ('adjustment', 'adjustment', 'full', 'Korrektur und Einmaliges', 'Adjustments', 'Stück', 'unit', 999);
