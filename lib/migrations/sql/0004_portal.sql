-- Which of a customer's users recorded a booking, instead of who of us. No foreign key, as in audit_log: the row stays
-- when its user is erased.
ALTER TABLE bookings ADD COLUMN customer_user_id BIGINT,
    ADD CONSTRAINT bookings_recorded_by_one_check CHECK (recorded_by IS NULL OR customer_user_id IS NULL);

-- Whose row the portal may look at in this transaction: the customer of the person who is signed in, NULL for nobody.
CREATE FUNCTION portal_customer() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
    $$ SELECT nullif(current_setting('mandant.customer', true), '')::bigint $$;

-- Of which customer somebody is, by what they show: a secret, or an e-mail address that they sign in with. With the
-- rights of the schema's owner, and telling nothing else: the portal's own role finds no row before it knows this.
CREATE FUNCTION portal_customer_by(shown text, value text) RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path FROM CURRENT AS $$
    SELECT CASE shown
        WHEN 'email' THEN (SELECT customer_id FROM customer_users WHERE lower(email) = lower(value))
        WHEN 'session' THEN (SELECT u.customer_id FROM sessions s JOIN customer_users u ON u.id = s.customer_user_id
                              WHERE s.token_hash = decode(value, 'hex') AND s.ended_at IS NULL)
        WHEN 'ticket' THEN (SELECT u.customer_id FROM sign_in_tickets t JOIN customer_users u ON u.id = t.customer_user_id
                             WHERE t.ticket_hash = decode(value, 'hex'))
        WHEN 'link' THEN (SELECT u.customer_id FROM user_links l JOIN customer_users u ON u.id = l.user_id
                           WHERE l.token_hash = decode(value, 'hex'))
    END $$;
REVOKE ALL ON FUNCTION portal_customer_by(text, text) FROM PUBLIC;
