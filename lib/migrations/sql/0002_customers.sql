-- Customers completely: people, mail, usage, imports, deletion, second factor.

ALTER TABLE customers
    DROP COLUMN invited_at,
    DROP COLUMN registered_at,
    ADD COLUMN account_name TEXT DEFAULT '' NOT NULL,
    ADD COLUMN tenant_type TEXT DEFAULT 'evaluation' NOT NULL,
    ADD COLUMN storage_region TEXT DEFAULT '' NOT NULL,
    ADD COLUMN console_url TEXT DEFAULT '' NOT NULL,
    ADD COLUMN licence_expires_on DATE,
    ADD COLUMN tags TEXT[] DEFAULT '{}' NOT NULL,
    ADD COLUMN marked_for_deletion_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN erased_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN settled_at TIMESTAMP WITH TIME ZONE,
    ADD CONSTRAINT customers_tenant_type_known_check CHECK (tenant_type IN ('evaluation','sandbox','commercial')),
    ADD CONSTRAINT customers_console_url_https_check CHECK (console_url = '' OR console_url LIKE 'https://%'),
    ADD CONSTRAINT customers_erased_was_marked_check CHECK (erased_at IS NULL OR marked_for_deletion_at IS NOT NULL),
    ADD CONSTRAINT customers_settled_was_erased_check CHECK (settled_at IS NULL OR erased_at IS NOT NULL);

UPDATE customers SET tenant_type = 'commercial' WHERE phase = 'billed';

-- Text as it is searched: in small letters, whatever the server's locale. translate() looks each letter up in the
-- whole list, so only what holds such a capital pays for it.
CREATE FUNCTION folded(words text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(CASE WHEN words ~ '[ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽ]'
                      THEN translate(words, 'ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞĀĂĄĆĈĊČĎĐĒĔĖĘĚĜĞĠĢĤĦĨĪĬĮĲĴĶĹĻĽĿŁŃŅŇŊŌŎŐŒŔŖŘŚŜŞŠŢŤŦŨŪŬŮŰŲŴŶŸŹŻŽ',
                                            'àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįĳĵķĺļľŀłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷÿźżž')
                      ELSE words END)
$$;

ALTER TABLE customers DROP COLUMN search;

ALTER TABLE customers ADD COLUMN search TEXT GENERATED ALWAYS AS
    (folded(name || ' ' || number || ' ' || contact_name || ' ' || contact_email || ' ' || vat_id)) STORED;

CREATE INDEX customers_search_idx ON customers USING gin (search gin_trgm_ops);

CREATE INDEX customers_tags_idx ON customers USING gin (tags);

CREATE INDEX customers_licence_idx ON customers (licence_expires_on) WHERE licence_expires_on IS NOT NULL;

DROP INDEX customers_name_idx, customers_number_idx, customers_ends_on_idx;

CREATE INDEX customers_name_idx ON customers (phase, sort_name, id) INCLUDE (billed_from, ends_on) WHERE erased_at IS NULL;

CREATE INDEX customers_number_idx ON customers (phase, number, id) INCLUDE (billed_from, ends_on) WHERE erased_at IS NULL;

CREATE INDEX customers_ends_on_idx ON customers (phase, ends_on, id) WHERE erased_at IS NULL;

CREATE INDEX customers_erased_idx ON customers (id) WHERE erased_at IS NOT NULL;

ALTER TABLE bookings ADD COLUMN cancellation UUID;

ALTER TABLE company
    ADD COLUMN portal_url TEXT DEFAULT '' NOT NULL,
    ADD COLUMN self_registration BOOLEAN DEFAULT 'false' NOT NULL,
    ADD COLUMN registration_terms TEXT DEFAULT '' NOT NULL,
    ADD COLUMN erasure_delay_minutes INTEGER DEFAULT '30' NOT NULL,
    ADD COLUMN check_vies BOOLEAN DEFAULT 'false' NOT NULL,
    ADD COLUMN second_factor_roles TEXT[] DEFAULT '{admin,finance}' NOT NULL,
    ADD CONSTRAINT company_erasure_delay_range_check CHECK (erasure_delay_minutes BETWEEN 0 AND 43200);

ALTER TABLE audit_log ADD COLUMN customer_user_id BIGINT;

CREATE TABLE customer_users (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL,
    salutation TEXT DEFAULT '' NOT NULL,
    first_name TEXT DEFAULT '' NOT NULL,
    surname TEXT DEFAULT '' NOT NULL,
    email TEXT NOT NULL,
    is_main BOOLEAN DEFAULT 'false' NOT NULL,
    password_hash TEXT,
    invited_at TIMESTAMP WITH TIME ZONE,
    registered_at TIMESTAMP WITH TIME ZONE,
    deactivated_at TIMESTAMP WITH TIME ZONE,
    invited_by BIGINT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT customer_users_pkey PRIMARY KEY (id),
    CONSTRAINT customer_users_email_given_check CHECK (email <> ''),
    CONSTRAINT customer_users_registered_has_password_check CHECK (registered_at IS NULL OR password_hash IS NOT NULL),
    CONSTRAINT customer_users_main_is_not_deactivated_check CHECK (NOT is_main OR deactivated_at IS NULL),
    CONSTRAINT customer_users_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE INDEX customer_users_customer_id_idx ON customer_users (customer_id, id);

CREATE UNIQUE INDEX customer_users_email_key ON customer_users (lower(email));

CREATE INDEX customer_users_email_search_idx ON customer_users USING gin (lower(email) gin_trgm_ops);

CREATE UNIQUE INDEX customer_users_one_main_key ON customer_users (customer_id) WHERE is_main;

CREATE TABLE user_links (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    user_id BIGINT NOT NULL,
    purpose TEXT NOT NULL,
    token_hash BYTEA,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    voided_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT user_links_pkey PRIMARY KEY (id),
    CONSTRAINT user_links_purpose_known_check CHECK (purpose IN ('invite','password_reset','registration')),
    CONSTRAINT user_links_user_id_fkey FOREIGN KEY(user_id) REFERENCES customer_users (id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX user_links_one_alive_key ON user_links (user_id, purpose) WHERE used_at IS NULL AND voided_at IS NULL;

CREATE UNIQUE INDEX user_links_token_hash_key ON user_links (token_hash);

CREATE TABLE contacts (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL,
    name TEXT NOT NULL,
    phone TEXT DEFAULT '' NOT NULL,
    email TEXT DEFAULT '' NOT NULL,
    is_billing BOOLEAN DEFAULT 'false' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT contacts_pkey PRIMARY KEY (id),
    CONSTRAINT contacts_name_given_check CHECK (name <> ''),
    CONSTRAINT contacts_billing_contact_has_email_check CHECK (NOT is_billing OR email <> ''),
    CONSTRAINT contacts_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE INDEX contacts_customer_id_idx ON contacts (customer_id, id);

CREATE UNIQUE INDEX contacts_one_billing_key ON contacts (customer_id) WHERE is_billing;

CREATE TABLE notes (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL,
    text TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    created_by BIGINT,
    CONSTRAINT notes_pkey PRIMARY KEY (id),
    CONSTRAINT notes_text_given_check CHECK (text <> ''),
    CONSTRAINT notes_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT notes_created_by_fkey FOREIGN KEY(created_by) REFERENCES staff (id)
);

CREATE INDEX notes_customer_id_idx ON notes (customer_id, id);

CREATE TABLE vat_checks (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL,
    vat_id TEXT NOT NULL,
    checked_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    valid BOOLEAN,
    reference TEXT DEFAULT '' NOT NULL,
    answer TEXT DEFAULT '' NOT NULL,
    checked_by BIGINT,
    CONSTRAINT vat_checks_pkey PRIMARY KEY (id),
    CONSTRAINT vat_checks_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT vat_checks_checked_by_fkey FOREIGN KEY(checked_by) REFERENCES staff (id)
);

CREATE INDEX vat_checks_customer_id_idx ON vat_checks (customer_id, id);

CREATE TABLE quotas (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    amount NUMERIC(20, 3) NOT NULL,
    used NUMERIC(20, 3) DEFAULT '0' NOT NULL,
    from_day DATE NOT NULL,
    until_day DATE,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    recorded_by BIGINT,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT quotas_pkey PRIMARY KEY (id),
    CONSTRAINT quotas_kind_known_check CHECK (kind IN ('credits','storage')),
    CONSTRAINT quotas_amount_positive_check CHECK (amount > 0),
    CONSTRAINT quotas_used_not_negative_check CHECK (used >= 0),
    CONSTRAINT quotas_period_not_empty_check CHECK (until_day >= from_day),
    CONSTRAINT quotas_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT quotas_recorded_by_fkey FOREIGN KEY(recorded_by) REFERENCES staff (id)
);

CREATE INDEX quotas_customer_id_idx ON quotas (customer_id, from_day);

CREATE TABLE usage (
    customer_id BIGINT NOT NULL,
    day DATE NOT NULL,
    users INTEGER,
    storage_gb NUMERIC(20, 3),
    credits NUMERIC(20, 3),
    backups_ok INTEGER,
    backups_failed INTEGER,
    cloud_status TEXT DEFAULT '' NOT NULL,
    import_id BIGINT,
    CONSTRAINT usage_pkey PRIMARY KEY (customer_id, day),
    CONSTRAINT usage_not_negative_check CHECK (users >= 0 AND storage_gb >= 0 AND credits >= 0 AND backups_ok >= 0 AND backups_failed >= 0),
    CONSTRAINT usage_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id)
);

CREATE TABLE imports (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    file_name TEXT NOT NULL,
    file_sha256 BYTEA NOT NULL,
    mapping JSONB DEFAULT '{}' NOT NULL,
    state TEXT DEFAULT 'queued' NOT NULL,
    content BYTEA,
    rows INTEGER DEFAULT '0' NOT NULL,
    created INTEGER DEFAULT '0' NOT NULL,
    updated INTEGER DEFAULT '0' NOT NULL,
    unchanged INTEGER DEFAULT '0' NOT NULL,
    done_rows INTEGER DEFAULT '0' NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    leased_until TIMESTAMP WITH TIME ZONE,
    last_error TEXT DEFAULT '' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    created_by BIGINT,
    applied_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT imports_pkey PRIMARY KEY (id),
    CONSTRAINT imports_kind_known_check CHECK (kind IN ('customers','contacts','users','bookings','usage')),
    CONSTRAINT imports_state_known_check CHECK (state IN ('queued','applied','failed','withdrawn')),
    CONSTRAINT imports_applied_has_time_check CHECK ((state = 'applied') = (applied_at IS NOT NULL)),
    CONSTRAINT imports_created_by_fkey FOREIGN KEY(created_by) REFERENCES staff (id)
);

CREATE UNIQUE INDEX imports_applied_once_key ON imports (kind, file_sha256) WHERE state = 'applied';

CREATE INDEX imports_due_idx ON imports (due_at) WHERE state = 'queued';

CREATE TABLE mail_server (
    id INTEGER DEFAULT '1' NOT NULL,
    host TEXT DEFAULT '' NOT NULL,
    port INTEGER DEFAULT '587' NOT NULL,
    security TEXT DEFAULT 'starttls' NOT NULL,
    username TEXT DEFAULT '' NOT NULL,
    password BYTEA,
    sender_address TEXT DEFAULT '' NOT NULL,
    sender_name TEXT DEFAULT '' NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT mail_server_pkey PRIMARY KEY (id),
    CONSTRAINT mail_server_single_row_check CHECK (id = 1),
    CONSTRAINT mail_server_port_range_check CHECK (port BETWEEN 1 AND 65535),
    CONSTRAINT mail_server_security_known_check CHECK (security IN ('none','starttls','tls'))
);

CREATE TABLE mail_templates (
    kind TEXT NOT NULL,
    language TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    version INTEGER DEFAULT '1' NOT NULL,
    CONSTRAINT mail_templates_pkey PRIMARY KEY (kind, language),
    CONSTRAINT mail_templates_language_known_check CHECK (language IN ('de','en')),
    CONSTRAINT mail_templates_texts_given_check CHECK (subject <> '' AND body <> '')
);

CREATE TABLE mails (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    state TEXT DEFAULT 'queued' NOT NULL,
    customer_id BIGINT,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    invoice_id BIGINT,
    link_id BIGINT,
    message_id TEXT NOT NULL,
    attempts INTEGER DEFAULT '0' NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    leased_until TIMESTAMP WITH TIME ZONE,
    last_error TEXT DEFAULT '' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    created_by BIGINT,
    sent_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT mails_pkey PRIMARY KEY (id),
    CONSTRAINT mails_state_known_check CHECK (state IN ('queued','sent','failed')),
    CONSTRAINT mails_sent_has_time_check CHECK ((state = 'sent') = (sent_at IS NOT NULL)),
    CONSTRAINT mails_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT mails_invoice_id_fkey FOREIGN KEY(invoice_id) REFERENCES invoices (id),
    CONSTRAINT mails_link_id_fkey FOREIGN KEY(link_id) REFERENCES user_links (id) ON DELETE SET NULL,
    CONSTRAINT mails_message_id_key UNIQUE (message_id),
    CONSTRAINT mails_created_by_fkey FOREIGN KEY(created_by) REFERENCES staff (id)
);

CREATE INDEX mails_customer_id_idx ON mails (customer_id, id);

CREATE INDEX mails_due_idx ON mails (due_at) WHERE state = 'queued';

CREATE INDEX mails_failed_idx ON mails (id) WHERE state = 'failed';

CREATE INDEX mails_invoice_id_idx ON mails (invoice_id) WHERE invoice_id IS NOT NULL;

CREATE TABLE deletions (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    customer_id BIGINT NOT NULL,
    requested_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    requested_by BIGINT,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_on_before DATE,
    taken_back_at TIMESTAMP WITH TIME ZONE,
    taken_back_by BIGINT,
    erased_at TIMESTAMP WITH TIME ZONE,
    settled_at TIMESTAMP WITH TIME ZONE,
    attempts INTEGER DEFAULT '0' NOT NULL,
    last_error TEXT DEFAULT '' NOT NULL,
    CONSTRAINT deletions_pkey PRIMARY KEY (id),
    CONSTRAINT deletions_erased_is_not_taken_back_check CHECK (taken_back_at IS NULL OR erased_at IS NULL),
    CONSTRAINT deletions_settled_was_erased_check CHECK (settled_at IS NULL OR erased_at IS NOT NULL),
    CONSTRAINT deletions_customer_id_fkey FOREIGN KEY(customer_id) REFERENCES customers (id),
    CONSTRAINT deletions_requested_by_fkey FOREIGN KEY(requested_by) REFERENCES staff (id),
    CONSTRAINT deletions_taken_back_by_fkey FOREIGN KEY(taken_back_by) REFERENCES staff (id)
);

CREATE UNIQUE INDEX deletions_customer_id_key ON deletions (customer_id) WHERE taken_back_at IS NULL;

CREATE INDEX deletions_due_idx ON deletions (due_at) WHERE taken_back_at IS NULL AND settled_at IS NULL;

CREATE TABLE deletion_items (
    deletion_id BIGINT NOT NULL,
    position INTEGER NOT NULL,
    what TEXT NOT NULL,
    treatment TEXT NOT NULL,
    count INTEGER NOT NULL,
    kept_until DATE,
    reason TEXT DEFAULT '' NOT NULL,
    done_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT deletion_items_pkey PRIMARY KEY (deletion_id, position),
    CONSTRAINT deletion_items_treatment_known_check CHECK (treatment IN ('erased','kept')),
    CONSTRAINT deletion_items_kept_for_a_reason_check CHECK (treatment = 'erased' OR reason <> ''),
    CONSTRAINT deletion_items_deletion_id_fkey FOREIGN KEY(deletion_id) REFERENCES deletions (id)
);

CREATE TABLE duties (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    deletion_id BIGINT NOT NULL,
    what TEXT NOT NULL,
    signed_off_at TIMESTAMP WITH TIME ZONE,
    signed_off_by BIGINT,
    CONSTRAINT duties_pkey PRIMARY KEY (id),
    CONSTRAINT duties_signed_off_by_somebody_check CHECK ((signed_off_at IS NULL) = (signed_off_by IS NULL)),
    CONSTRAINT duties_what_key UNIQUE (deletion_id, what),
    CONSTRAINT duties_deletion_id_fkey FOREIGN KEY(deletion_id) REFERENCES deletions (id),
    CONSTRAINT duties_signed_off_by_fkey FOREIGN KEY(signed_off_by) REFERENCES staff (id)
);

CREATE INDEX duties_open_idx ON duties (id) WHERE signed_off_at IS NULL;

CREATE TABLE second_factors (
    staff_id BIGINT NOT NULL,
    secret BYTEA NOT NULL,
    confirmed_at TIMESTAMP WITH TIME ZONE,
    last_step BIGINT DEFAULT '0' NOT NULL,
    CONSTRAINT second_factors_pkey PRIMARY KEY (staff_id),
    CONSTRAINT second_factors_staff_id_fkey FOREIGN KEY(staff_id) REFERENCES staff (id)
);

CREATE TABLE recovery_codes (
    staff_id BIGINT NOT NULL,
    code_hash BYTEA NOT NULL,
    used_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT recovery_codes_pkey PRIMARY KEY (staff_id, code_hash),
    CONSTRAINT recovery_codes_staff_id_fkey FOREIGN KEY(staff_id) REFERENCES staff (id)
);

-- ------------------------------------------------------------------ signing in to the portal

ALTER TABLE sessions
    ALTER COLUMN staff_id DROP NOT NULL,
    ADD COLUMN customer_user_id BIGINT,
    ADD COLUMN second_factor_at TIMESTAMP WITH TIME ZONE,
    ADD CONSTRAINT sessions_customer_user_id_fkey FOREIGN KEY(customer_user_id) REFERENCES customer_users (id) ON DELETE CASCADE,
    ADD CONSTRAINT sessions_person_of_the_site_check CHECK ((site = 'staff') = (staff_id IS NOT NULL) AND (site = 'portal') = (customer_user_id IS NOT NULL));

CREATE INDEX sessions_customer_user_id_idx ON sessions (customer_user_id);

ALTER TABLE sign_in_tickets
    ALTER COLUMN staff_id DROP NOT NULL,
    ADD COLUMN customer_user_id BIGINT,
    ADD CONSTRAINT sign_in_tickets_customer_user_id_fkey FOREIGN KEY(customer_user_id) REFERENCES customer_users (id) ON DELETE CASCADE,
    ADD CONSTRAINT sign_in_tickets_one_person_check CHECK ((staff_id IS NULL) <> (customer_user_id IS NULL));

ALTER TABLE sign_in_attempts ADD COLUMN site TEXT DEFAULT 'staff' NOT NULL;

-- ------------------------------------------------------------------ rules that no session gets around

ALTER TABLE quotas ADD CONSTRAINT quotas_one_at_a_time
    EXCLUDE USING gist (customer_id WITH =, kind WITH =, daterange(from_day, until_day, '[]') WITH &&);

-- What is used of a quota is kept on it, as usage comes and goes: 100,000 customers' usage is not added up for a list.
-- Of credits the sum of the quota's days, of storage the latest level that is known on its last day.
CREATE FUNCTION quota_used(customer bigint, what text, first_day date, last_day date) RETURNS numeric
    LANGUAGE sql STABLE AS $$
    SELECT coalesce(CASE what
        WHEN 'credits' THEN (SELECT sum(credits) FROM usage
                              WHERE customer_id = customer AND day >= first_day AND (last_day IS NULL OR day <= last_day))
        ELSE (SELECT storage_gb FROM usage
               WHERE customer_id = customer AND storage_gb IS NOT NULL AND (last_day IS NULL OR day <= last_day)
               ORDER BY day DESC LIMIT 1)
    END, 0)
$$;
CREATE FUNCTION quotas_measured() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.used := quota_used(NEW.customer_id, NEW.kind, NEW.from_day, NEW.until_day);
    RETURN NEW;
END $$;
CREATE TRIGGER quotas_measured BEFORE INSERT OR UPDATE OF customer_id, kind, from_day, until_day ON quotas
    FOR EACH ROW EXECUTE FUNCTION quotas_measured();

CREATE FUNCTION usage_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        UPDATE quotas q SET used = q.used + d.credits
          FROM (SELECT q.id, sum(n.credits) AS credits
                  FROM new_rows n JOIN quotas q ON q.customer_id = n.customer_id AND q.kind = 'credits'
                   AND n.day >= q.from_day AND (q.until_day IS NULL OR n.day <= q.until_day)
                 WHERE n.credits > 0 GROUP BY q.id) d
         WHERE d.id = q.id;
        UPDATE quotas q SET used = quota_used(q.customer_id, q.kind, q.from_day, q.until_day)
         WHERE q.kind = 'storage' AND EXISTS (SELECT FROM new_rows n WHERE n.customer_id = q.customer_id
                                                 AND (q.until_day IS NULL OR n.day <= q.until_day));
    END IF;
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        UPDATE quotas q SET used = q.used - d.credits
          FROM (SELECT q.id, sum(o.credits) AS credits
                  FROM old_rows o JOIN quotas q ON q.customer_id = o.customer_id AND q.kind = 'credits'
                   AND o.day >= q.from_day AND (q.until_day IS NULL OR o.day <= q.until_day)
                 WHERE o.credits > 0 GROUP BY q.id) d
         WHERE d.id = q.id;
        UPDATE quotas q SET used = quota_used(q.customer_id, q.kind, q.from_day, q.until_day)
         WHERE q.kind = 'storage' AND EXISTS (SELECT FROM old_rows o WHERE o.customer_id = q.customer_id
                                                 AND (q.until_day IS NULL OR o.day <= q.until_day));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER usage_inserted AFTER INSERT ON usage REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION usage_counted();
CREATE TRIGGER usage_deleted AFTER DELETE ON usage REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION usage_counted();
CREATE TRIGGER usage_updated AFTER UPDATE ON usage REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION usage_counted();

CREATE FUNCTION commercial_stays_commercial() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refuse('commercial_stays_commercial', 'A commercial tenant never becomes another type again.');
    RETURN NULL;
END $$;
CREATE TRIGGER customers_commercial_stays_commercial BEFORE UPDATE OF tenant_type ON customers FOR EACH ROW
    WHEN (OLD.tenant_type = 'commercial' AND NEW.tenant_type <> 'commercial')
    EXECUTE FUNCTION commercial_stays_commercial();

CREATE FUNCTION erased_stays_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refuse('erased_stays_erased', 'What was erased does not come back.');
    RETURN NULL;
END $$;
CREATE TRIGGER customers_erased_stays_erased BEFORE UPDATE OF erased_at, settled_at, marked_for_deletion_at ON customers FOR EACH ROW
    WHEN (OLD.erased_at IS NOT NULL
          AND (NEW.erased_at IS DISTINCT FROM OLD.erased_at OR NEW.marked_for_deletion_at IS NULL
               OR OLD.settled_at IS NOT NULL AND NEW.settled_at IS DISTINCT FROM OLD.settled_at))
    EXECUTE FUNCTION erased_stays_erased();

-- Nothing personal is stored about a customer who was erased, whoever tries, and however late. An insert that
-- began before the erasure is waited for by it; one that waits for the erasure ends here.
CREATE FUNCTION nothing_of_the_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM new_rows n JOIN customers c ON c.id = n.customer_id WHERE c.erased_at IS NOT NULL) THEN
        PERFORM refuse('nothing_of_the_erased', 'The data of this customer were erased; nothing is stored about it any more.');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER customer_users_not_of_erased AFTER INSERT ON customer_users REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_of_the_erased();
CREATE TRIGGER contacts_not_of_erased AFTER INSERT ON contacts REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_of_the_erased();
CREATE TRIGGER notes_not_of_erased AFTER INSERT ON notes REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_of_the_erased();
CREATE TRIGGER quotas_not_of_erased AFTER INSERT ON quotas REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_of_the_erased();
CREATE TRIGGER usage_not_of_erased AFTER INSERT ON usage REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION nothing_of_the_erased();

-- A deletion record stays: it is evidence of what was erased, and of who signed our duties off.
CREATE TRIGGER deletions_never_deleted BEFORE DELETE OR TRUNCATE ON deletions EXECUTE FUNCTION append_only();
CREATE TRIGGER deletion_items_never_deleted BEFORE DELETE OR TRUNCATE ON deletion_items EXECUTE FUNCTION append_only();
CREATE TRIGGER duties_never_deleted BEFORE DELETE OR TRUNCATE ON duties EXECUTE FUNCTION append_only();
CREATE FUNCTION signed_off_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refuse('signed_off_stays', 'A duty that was signed off stays signed off.');
    RETURN NULL;
END $$;
CREATE TRIGGER duties_signed_off_stays BEFORE UPDATE ON duties FOR EACH ROW
    WHEN (OLD.signed_off_at IS NOT NULL) EXECUTE FUNCTION signed_off_stays();

-- ------------------------------------------------------------------ work that outlives a click

-- What the worker does, whatever the table it stands in. The state is on the row it belongs to.
CREATE VIEW jobs AS
SELECT 'mail' AS kind, id, customer_id,
       CASE WHEN state = 'queued' THEN CASE WHEN leased_until > now() THEN 'running' ELSE 'waiting' END
            WHEN state = 'sent' THEN 'done' ELSE state END AS state,
       due_at, attempts, last_error, created_at, sent_at AS done_at
  FROM mails
UNION ALL
SELECT 'erasure', id, customer_id,
       CASE WHEN last_error <> '' THEN 'failed' WHEN erased_at IS NOT NULL THEN 'done' ELSE 'waiting' END,
       due_at, attempts, last_error, requested_at, erased_at
  FROM deletions WHERE taken_back_at IS NULL
UNION ALL
SELECT 'import', id, NULL,
       CASE WHEN state = 'queued' THEN CASE WHEN leased_until > now() THEN 'running' ELSE 'waiting' END
            WHEN state = 'applied' THEN 'done' ELSE state END,
       due_at, attempts, last_error, created_at, applied_at
  FROM imports WHERE state <> 'withdrawn';

INSERT INTO mail_server DEFAULT VALUES;
