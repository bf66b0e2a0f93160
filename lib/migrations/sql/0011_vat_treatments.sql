-- Which VAT a line bears: the standard or the reduced rate of its day, or none because it is exempt. Where the customer's
-- country or VAT ID decides otherwise (AE, O), that rules all lines of the document.

ALTER TABLE vat_rates
    ADD COLUMN treatment TEXT DEFAULT 'standard' NOT NULL,
    ADD CONSTRAINT vat_rates_treatment_known_check CHECK (treatment IN ('standard', 'reduced')),
    DROP CONSTRAINT vat_rates_pkey,
    ADD CONSTRAINT vat_rates_pkey PRIMARY KEY (treatment, valid_from);
ALTER TABLE vat_rates ALTER COLUMN treatment DROP DEFAULT;

-- § 12 (2) UStG; 5 % by the second corona tax relief act.
INSERT INTO vat_rates (treatment, valid_from, rate)
VALUES ('reduced', '2007-01-01', 7), ('reduced', '2020-07-01', 5), ('reduced', '2021-01-01', 7);

-- The reason is printed: § 14 (4) no. 8 UStG.
ALTER TABLE products
    ADD COLUMN vat_treatment TEXT DEFAULT 'standard' NOT NULL,
    ADD COLUMN exempt_reason_de TEXT DEFAULT '' NOT NULL,
    ADD COLUMN exempt_reason_en TEXT DEFAULT '' NOT NULL,
    ADD CONSTRAINT products_vat_treatment_explained_check
        CHECK (vat_treatment IN ('standard', 'reduced') AND exempt_reason_de = '' AND exempt_reason_en = ''
               OR vat_treatment = 'exempt' AND exempt_reason_de <> '' AND exempt_reason_en <> '');

ALTER TABLE adjustments
    ADD COLUMN vat_treatment TEXT DEFAULT 'standard' NOT NULL,
    ADD COLUMN exempt_reason TEXT DEFAULT '' NOT NULL,
    ADD CONSTRAINT adjustments_vat_treatment_explained_check
        CHECK (vat_treatment IN ('standard', 'reduced') AND exempt_reason = ''
               OR vat_treatment = 'exempt' AND exempt_reason <> '');

-- As it was when the line was drafted, in the language of its document. A later change of the product doesn't reach it.
ALTER TABLE invoice_lines
    ADD COLUMN vat_treatment TEXT DEFAULT 'standard' NOT NULL,
    ADD COLUMN exempt_reason TEXT DEFAULT '' NOT NULL,
    ADD CONSTRAINT invoice_lines_vat_treatment_explained_check
        CHECK (vat_treatment IN ('standard', 'reduced') AND exempt_reason = ''
               OR vat_treatment = 'exempt' AND exempt_reason <> '');

-- Exempt lines are a group of their own, category E; 0 % of AE and O is never one of them.
CREATE OR REPLACE VIEW invoice_taxes AS
SELECT l.invoice_id, l.vat_rate AS rate,
       CASE WHEN i.vat_category = 'S' AND l.vat_treatment = 'exempt' THEN 'E' ELSE i.vat_category END AS category,
       sum(l.amount) AS net, round(sum(l.amount) * l.vat_rate / 100, 2) AS vat
  FROM invoice_lines l
  JOIN invoices i ON i.id = l.invoice_id
 WHERE l.vat_rate IS NOT NULL
 GROUP BY l.invoice_id, l.vat_rate, i.vat_category, i.vat_category = 'S' AND l.vat_treatment = 'exempt';
