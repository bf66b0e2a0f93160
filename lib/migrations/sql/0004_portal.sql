-- Which of a customer's users recorded a booking, instead of who of us. No foreign key, as in audit_log: the row stays
-- when its user is erased.
ALTER TABLE bookings ADD COLUMN customer_user_id BIGINT,
    ADD CONSTRAINT bookings_recorded_by_one_check CHECK (recorded_by IS NULL OR customer_user_id IS NULL);
