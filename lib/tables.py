"""The tables, as SQLAlchemy Core sees them. The schema's history is in `lib/migrations/`.

Views, triggers, functions and exclusion constraints live in the migrations alone: SQLAlchemy
does not describe them. A test holds this file against the migrated database.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    column,
    func,
    table,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
    }
)

# Wide enough for the largest quantity at the largest price, and for sums of that: an absurd price is
# somebody's typo to be corrected, not an overflow that stops every page.
MONEY = Numeric(24, 2)
UNIT_PRICE = Numeric(26, 4)


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _stamp(name: str = "recorded_at") -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _ref(name: str, target: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, ForeignKey(target), nullable=nullable)


def _text(name: str, default: str | None = "") -> Column[str]:
    """A text column that is empty rather than NULL: a clerk knows only one kind of nothing."""
    return Column(name, Text, nullable=False, server_default=default)


def _vat_of_line() -> tuple[Column[str], Column[str], CheckConstraint]:
    """How a line is taxed, and the printed reason where it is exempt."""
    explained = (
        "vat_treatment IN ('standard','reduced') AND exempt_reason = ''"
        " OR vat_treatment = 'exempt' AND exempt_reason <> ''"
    )
    return (
        _text("vat_treatment", "standard"),
        _text("exempt_reason"),
        CheckConstraint(explained, name="vat_treatment_explained"),
    )


def _version() -> Column[int]:
    """Counts the saves of a row that is edited as a whole, so that a stale form loses."""
    return Column("version", Integer, nullable=False, server_default="1")


# ---------------------------------------------------------------- staff and sign-in
staff = Table(
    "staff",
    metadata,
    _id(),
    Column("username", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("must_change_password", Boolean, nullable=False, server_default="false"),
    # The address that the sign-in provider knows, and who that was at the first sign-in: from then on only they.
    _text("email"),
    Column("oidc_issuer", Text),
    Column("oidc_subject", Text),
    Column("disabled_at", DateTime(timezone=True)),
    _stamp("created_at"),
    _version(),
    CheckConstraint("role IN ('viewer','sales','finance','admin')", name="role_known"),
    CheckConstraint("username = lower(username) AND username <> ''", name="username_lower"),
    CheckConstraint("email = lower(email)", name="email_lower"),
    CheckConstraint("(oidc_issuer IS NULL) = (oidc_subject IS NULL)", name="oidc_whole"),
    UniqueConstraint("oidc_issuer", "oidc_subject"),
    Index("staff_email_key", "email", unique=True, postgresql_where=text("email <> ''")),
)

sessions = Table(
    "sessions",
    metadata,
    _id(),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    _ref("staff_id", "staff.id", nullable=True),
    Column("customer_user_id", BigInteger, ForeignKey("customer_users.id", ondelete="CASCADE")),
    Column("site", Text, nullable=False, server_default="staff"),
    # Signed in at the company's provider: a password that must be changed is none of this session's business.
    Column("by_provider", Boolean, nullable=False, server_default="false"),
    # When its second factor was given, where the person has one.
    Column("second_factor_at", DateTime(timezone=True)),
    _stamp("created_at"),
    _stamp("last_seen_at"),
    Column("ended_at", DateTime(timezone=True)),
    CheckConstraint(
        "(site = 'staff') = (staff_id IS NOT NULL) AND (site = 'portal') = (customer_user_id IS NOT NULL)",
        name="person_of_the_site",
    ),
    Index("sessions_staff_id_idx", "staff_id"),
    Index("sessions_customer_user_id_idx", "customer_user_id"),
)

sign_in_tickets = Table(
    "sign_in_tickets",
    metadata,
    Column("ticket_hash", LargeBinary, primary_key=True),
    Column("nonce_hash", LargeBinary, nullable=False),
    _ref("staff_id", "staff.id", nullable=True),
    Column("customer_user_id", BigInteger, ForeignKey("customer_users.id", ondelete="CASCADE")),
    # Which sign-in at the provider earned it: each earns one.
    Column("identity_hash", LargeBinary, unique=True),
    _stamp("created_at"),
    Column("used_at", DateTime(timezone=True)),
    CheckConstraint("(staff_id IS NULL) <> (customer_user_id IS NULL)", name="one_person"),
)

sign_in_attempts = Table(
    "sign_in_attempts",
    metadata,
    _id(),
    Column("site", Text, nullable=False, server_default="staff"),
    Column("username", Text, nullable=False),
    Column("address", Text, nullable=False),
    _stamp("at"),
    Column("succeeded", Boolean, nullable=False),
    Index("sign_in_attempts_who_idx", "username", "address", "at"),
)

requests = Table(
    "requests",
    metadata,
    Column("key", Uuid, primary_key=True),
    _stamp("at"),
)

# ---------------------------------------------------------------- audit
audit_log = Table(
    "audit_log",
    metadata,
    _id(),
    _stamp("at"),
    # No foreign key: staff rows are never deleted (a trigger), and a close writes 100,000 entries.
    Column("staff_id", BigInteger),
    # Set instead where a customer's own user did it, in the portal.
    Column("customer_user_id", BigInteger),
    Column("action", Text, nullable=False),
    Column("object_type", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("customer_id", BigInteger),
    Column("changes", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Index("audit_log_at_idx", "at", postgresql_using="brin"),
    # Documents, of which a close issues 100,000, are found by their customer.
    CheckConstraint("object_type <> 'invoice' OR customer_id IS NOT NULL", name="document_has_customer"),
    Index("audit_log_object_idx", "object_type", "object_id", postgresql_where=text("object_type <> 'invoice'")),
    Index("audit_log_customer_id_idx", "customer_id"),
)

audit_personal = Table(
    "audit_personal",
    metadata,
    Column("audit_id", BigInteger, ForeignKey("audit_log.id"), primary_key=True),
    Column("customer_id", BigInteger, index=True),
    Column("changes", JSONB, nullable=False),
)

# ---------------------------------------------------------------- settings
company = Table(
    "company",
    metadata,
    Column("id", Integer, primary_key=True, server_default="1"),
    _text("name"),
    _text("street"),
    _text("postcode"),
    _text("city"),
    _text("country", "DE"),
    _text("vat_id"),
    _text("tax_number"),
    _text("register_entry"),
    _text("managing_directors"),
    _text("email"),
    _text("phone"),
    _text("website"),
    _text("bank_name"),
    _text("iban"),
    _text("bic"),
    _text("currency", "EUR"),
    _text("timezone", "Europe/Berlin"),
    Column("payment_days", Integer, nullable=False, server_default="14"),
    Column("change_threshold_percent", Integer, nullable=False, server_default="30"),
    _text("intro_de"),
    _text("intro_en"),
    _text("closing_de"),
    _text("closing_en"),
    _text("self_service_article_name"),
    _text("self_service_article_number"),
    _text("portal_url"),
    Column("self_registration", Boolean, nullable=False, server_default="false"),
    _text("registration_terms"),
    Column("erasure_delay_minutes", Integer, nullable=False, server_default="30"),
    Column("check_vies", Boolean, nullable=False, server_default="false"),
    # So many days before a prepaid term ends, its renewal is drafted.
    Column("renewal_days", Integer, nullable=False, server_default="14"),
    # Staff of these roles sign in with a second factor only.
    Column("second_factor_roles", ARRAY(Text), nullable=False, server_default="{admin,finance}"),
    Column("logo", LargeBinary),
    _version(),
    CheckConstraint("id = 1", name="single_row"),
    CheckConstraint("payment_days BETWEEN 0 AND 365", name="payment_days_range"),
    CheckConstraint("erasure_delay_minutes BETWEEN 0 AND 43200", name="erasure_delay_range"),
    CheckConstraint("change_threshold_percent BETWEEN 1 AND 1000", name="threshold_range"),
    CheckConstraint("renewal_days BETWEEN 1 AND 28", name="renewal_days_range"),
    CheckConstraint("currency ~ '^[A-Z]{3}$'", name="currency_iso"),
)

sellers = Table(
    "sellers",
    metadata,
    _id(),
    Column("content", JSONB, nullable=False),
    Column("content_hash", Text, nullable=False, unique=True),
    Column("logo", LargeBinary),
    _stamp(),
)

vat_rates = Table(
    "vat_rates",
    metadata,
    Column("treatment", Text, primary_key=True),
    Column("valid_from", Date, primary_key=True),
    Column("rate", Numeric(5, 2), nullable=False),
    CheckConstraint("rate BETWEEN 0 AND 100", name="rate_range"),
    CheckConstraint("treatment IN ('standard','reduced')", name="treatment_known"),
)

number_series = Table(
    "number_series",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("prefix", Text, nullable=False, unique=True),
    Column("digits", Integer, nullable=False, server_default="5"),
    _version(),
    CheckConstraint("kind IN ('invoice','credit_note','cancellation')", name="kind_known"),
    CheckConstraint("prefix ~ '^[A-Z0-9-]{1,10}$'", name="prefix_plain"),
    CheckConstraint("digits BETWEEN 3 AND 10", name="digits_range"),
)

number_counters = Table(
    "number_counters",
    metadata,
    Column("kind", Text, ForeignKey("number_series.kind"), primary_key=True),
    Column("year", Integer, primary_key=True),
    Column("last", Integer, nullable=False),
    CheckConstraint("last >= 0", name="last_not_negative"),
)

# ---------------------------------------------------------------- customers

customers = Table(
    "customers",
    metadata,
    _id(),
    Column("number", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("billed_from", Date),
    Column("ends_on", Date),
    Column("active", Boolean, nullable=False, server_default="true"),
    _text("deactivation_reason"),
    Column("locked_at", DateTime(timezone=True)),
    _text("service_mode", "managed"),
    _text("payment_method", "bank_transfer"),
    _text("contact_name"),
    _text("contact_email"),
    _text("phone"),
    _text("street"),
    _text("postcode"),
    _text("city"),
    _text("country", "DE"),
    Column("separate_billing", Boolean, nullable=False, server_default="false"),
    _text("billing_name"),
    _text("billing_street"),
    _text("billing_postcode"),
    _text("billing_city"),
    _text("billing_country"),
    _text("billing_email"),
    _text("vat_id"),
    Column("vat_id_valid", Boolean, nullable=False, server_default="false"),
    Column("vat_id_checked_on", Date),
    _text("tax_number"),
    _text("no_tax_id_reason"),
    _text("purchase_order"),
    _text("language", "de"),
    Column("payment_days", Integer),
    Column("max_users", Integer),
    Column("users_beyond_max", Boolean, nullable=False, server_default="false"),
    _stamp("created_at"),
    _text("account_name"),
    Column("tenant_type", Text, nullable=False, server_default="evaluation"),
    _text("storage_region"),
    _text("console_url"),
    Column("licence_expires_on", Date),
    Column("tags", ARRAY(Text), nullable=False, server_default="{}"),
    # Marked: its users can't sign in, and what may be erased is erased after a delay (`deletions`).
    Column("marked_for_deletion_at", DateTime(timezone=True)),
    # From then on only what the last invoice needs is left,
    Column("erased_at", DateTime(timezone=True)),
    # and once that is settled, a tombstone: the number, and the name as on the documents.
    Column("settled_at", DateTime(timezone=True)),
    _version(),
    Column(
        "search",
        Text,
        Computed(
            "folded(name || ' ' || number || ' ' || contact_name || ' ' || contact_email || ' ' || vat_id)",
            persisted=True,
        ),
    ),
    # The order of DIN 5007-1 (umlauts as their base letters), whatever collation the server has.
    Column(
        "sort_name",
        Text,
        Computed("lower(translate(name, 'ÄÖÜäöüßÉÈÊéèêÁÀáàÇç', 'AOUaousEEEeeeAAaaCc'))", persisted=True),
    ),
    CheckConstraint("phase IN ('test','billed')", name="phase_known"),
    CheckConstraint("(phase = 'billed') = (billed_from IS NOT NULL)", name="billed_has_start"),
    CheckConstraint("name <> ''", name="name_given"),
    CheckConstraint("service_mode IN ('managed','self_service')", name="service_mode_known"),
    CheckConstraint(
        "payment_method IN ('bank_transfer','direct_debit','card','project_key','free')",
        name="payment_method_known",
    ),
    CheckConstraint("language IN ('de','en')", name="language_known"),
    CheckConstraint("country ~ '^[A-Z]{2}$'", name="country_iso"),
    CheckConstraint("payment_days BETWEEN 0 AND 365", name="payment_days_range"),
    CheckConstraint("max_users >= 0", name="max_users_not_negative"),
    # Lists leave out who was erased, unless asked for them.
    Index(
        "customers_name_idx",
        "phase",
        "sort_name",
        "id",
        postgresql_include=["billed_from", "ends_on"],
        postgresql_where=text("erased_at IS NULL"),
    ),
    Index(
        "customers_number_idx",
        "phase",
        "number",
        "id",
        postgresql_include=["billed_from", "ends_on"],
        postgresql_where=text("erased_at IS NULL"),
    ),
    # The Cost Overview does not: whoever was billed stays in it.
    Index(
        "customers_billed_name_idx",
        "sort_name",
        "id",
        postgresql_include=["billed_from", "ends_on"],
        postgresql_where=text("phase = 'billed'"),
    ),
    Index("customers_ends_on_idx", "phase", "ends_on", "id", postgresql_where=text("erased_at IS NULL")),
    Index("customers_erased_idx", "id", postgresql_where=text("erased_at IS NOT NULL")),
    CheckConstraint("tenant_type IN ('evaluation','sandbox','commercial')", name="tenant_type_known"),
    CheckConstraint("console_url = '' OR console_url LIKE 'https://%'", name="console_url_https"),
    CheckConstraint("erased_at IS NULL OR marked_for_deletion_at IS NOT NULL", name="erased_was_marked"),
    CheckConstraint("settled_at IS NULL OR erased_at IS NOT NULL", name="settled_was_erased"),
    Index("customers_tags_idx", "tags", postgresql_using="gin"),
    Index("customers_licence_idx", "licence_expires_on", postgresql_where=text("licence_expires_on IS NOT NULL")),
    Index("customers_search_idx", "search", postgresql_using="gin", postgresql_ops={"search": "gin_trgm_ops"}),
)

# A row for each tag of `customers.tags`, kept by a trigger.
customer_tags = Table(
    "customer_tags",
    metadata,
    Column("tag", Text, primary_key=True),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), primary_key=True),
    Index("customer_tags_customer_id_idx", "customer_id"),
)

lifecycle = Table(
    "lifecycle",
    metadata,
    _id(),
    _ref("customer_id", "customers.id"),
    Column("effective_on", Date, nullable=False),
    Column("billed", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("ends_on", Date),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    Index("lifecycle_customer_id_idx", "customer_id", "effective_on", "id"),
)

# ---------------------------------------------------------------- products, prices
products = Table(
    "products",
    metadata,
    _id(),
    Column("code", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("measure", Text, nullable=False),
    Column("name_de", Text, nullable=False),
    Column("name_en", Text, nullable=False),
    _text("description_de"),
    _text("description_en"),
    _text("unit_de", "Stück"),
    _text("unit_en", "unit"),
    _text("article_number"),
    Column("position", Integer, nullable=False, server_default="100"),
    Column("on_sale", Boolean, nullable=False, server_default="true"),
    # A plan or module can be tried for so many days, and be paid for a year in advance.
    Column("test_days", Integer),
    Column("yearly_price", MONEY),
    _text("revenue_account"),
    _text("vat_treatment", "standard"),
    _text("exempt_reason_de"),
    _text("exempt_reason_en"),
    _version(),
    UniqueConstraint("id", "kind", name="products_id_kind_key"),
    CheckConstraint("kind IN ('users','option','ips','plan','module','adjustment')", name="kind_known"),
    CheckConstraint("measure IN ('peak','daily','end','full')", name="measure_known"),
    CheckConstraint("name_de <> '' AND name_en <> ''", name="names_given"),
    CheckConstraint("code ~ '^[a-z0-9][a-z0-9-]{0,39}$'", name="code_plain"),
    CheckConstraint("test_days BETWEEN 1 AND 365", name="test_days_range"),
    CheckConstraint("yearly_price > 0", name="yearly_price_positive"),
    CheckConstraint("kind IN ('plan','module') OR test_days IS NULL AND yearly_price IS NULL", name="sold_in_advance"),
    CheckConstraint("revenue_account ~ '^([0-9]{4,8})?$'", name="revenue_account_digits"),
    CheckConstraint(
        "vat_treatment IN ('standard','reduced') AND exempt_reason_de = '' AND exempt_reason_en = ''"
        " OR vat_treatment = 'exempt' AND exempt_reason_de <> '' AND exempt_reason_en <> ''",
        name="vat_treatment_explained",
    ),
    Index(
        "products_single_kind_idx",
        "kind",
        unique=True,
        postgresql_where=text("kind IN ('users','ips','adjustment')"),
    ),
)

bookings = Table(
    "bookings",
    metadata,
    _id(),
    _ref("customer_id", "customers.id"),
    Column("product_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("effective_on", Date, nullable=False),
    Column("quantity", Integer),
    Column("internal", Integer),
    Column("external", Integer),
    _ref("voids", "bookings.id", nullable=True),
    # The same in all rows that one cancelling of the whole subscription wrote: they are taken back together.
    Column("cancellation", Uuid),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    # Set instead where one of the customer's users did it, in the portal (row G2).
    Column("customer_user_id", BigInteger),
    # The project key that brings these IPs, also on the 0 with which it ends.
    _ref("project_key_id", "project_keys.id", nullable=True),
    ForeignKeyConstraint(["product_id", "kind"], ["products.id", "products.kind"], name="bookings_product_fkey"),
    CheckConstraint("project_key_id IS NULL OR kind = 'ips'", name="only_ips_by_key"),
    CheckConstraint("recorded_by IS NULL OR customer_user_id IS NULL", name="recorded_by_one"),
    CheckConstraint("(voids IS NULL) = (quantity IS NOT NULL)", name="quantity_or_void"),
    CheckConstraint("quantity BETWEEN 0 AND 10000000", name="quantity_range"),
    CheckConstraint("kind IN ('users','ips') OR quantity IN (0, 1)", name="switch_is_0_or_1"),
    CheckConstraint(
        "CASE WHEN kind = 'ips' AND voids IS NULL THEN internal >= 0 AND external >= 0"
        " AND internal + external = quantity ELSE internal IS NULL AND external IS NULL END",
        name="ip_split",
    ),
    CheckConstraint("kind <> 'adjustment'", name="adjustments_are_not_booked"),
    Index("bookings_voided_once_key", "voids", unique=True, postgresql_where=text("voids IS NOT NULL")),
    # In the order in which the ledger is read: of one day, the booking recorded last comes first.
    Index("bookings_ledger_idx", "customer_id", "product_id", "effective_on", text("id DESC")),
    Index("bookings_project_key_id_idx", "project_key_id", postgresql_where=text("project_key_id IS NOT NULL")),
)

# Each brings IPs for some months and is used once; from `customer_id` on it is empty until then.
project_keys = Table(
    "project_keys",
    metadata,
    _id(),
    # Found by this (HMAC), opened for display from `sealed`; both by lib/vault.py.
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("ending", Text, nullable=False),
    Column("ips", Integer, nullable=False),
    Column("months", Integer, nullable=False),
    Column("purchase_price", MONEY, nullable=False),
    # The last day on which it can be redeemed.
    Column("redeem_until", Date),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    _ref("customer_id", "customers.id", nullable=True),
    Column("redeemed_at", DateTime(timezone=True)),
    _ref("redeemed_by", "staff.id", nullable=True),
    # Half-open: the first day without it.
    Column("from_day", Date),
    Column("until_day", Date),
    # The selling price is charged once, or each month by its days.
    Column("charging", Text),
    Column("selling_price", MONEY),
    CheckConstraint("ips BETWEEN 1 AND 10000000", name="ips_range"),
    CheckConstraint("months BETWEEN 1 AND 120", name="months_range"),
    CheckConstraint("purchase_price >= 0", name="purchase_price_not_negative"),
    CheckConstraint("charging IN ('once','monthly')", name="charging_known"),
    CheckConstraint(
        "num_nulls(customer_id, redeemed_at, from_day, until_day, charging, selling_price) IN (0, 6)"
        " AND (redeemed_by IS NULL OR redeemed_at IS NOT NULL)",
        name="redeemed_is_complete",
    ),
    CheckConstraint("until_day > from_day", name="period_not_empty"),
    CheckConstraint("selling_price >= 0", name="selling_price_not_negative"),
    Index(
        "project_keys_customer_id_idx",
        "customer_id",
        "from_day",
        postgresql_where=text("customer_id IS NOT NULL"),
    ),
)

prices = Table(
    "prices",
    metadata,
    _id(),
    _ref("product_id", "products.id"),
    _ref("customer_id", "customers.id", nullable=True),
    Column("valid_from", Date, nullable=False),
    Column("returns_to_list", Boolean, nullable=False, server_default="false"),
    Column("withdrawn_at", DateTime(timezone=True)),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    CheckConstraint("valid_from = date_trunc('month', valid_from::timestamp)::date", name="from_first_of_month"),
    CheckConstraint("NOT returns_to_list OR customer_id IS NOT NULL", name="only_individual_returns"),
    Index(
        "prices_version_key",
        "product_id",
        "customer_id",
        "valid_from",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("withdrawn_at IS NULL"),
    ),
    Index("prices_customer_id_idx", "customer_id", postgresql_where=text("customer_id IS NOT NULL")),
)

price_tiers = Table(
    "price_tiers",
    metadata,
    Column("price_id", BigInteger, ForeignKey("prices.id"), primary_key=True),
    Column("first_unit", Integer, primary_key=True),
    Column("last_unit", Integer),
    Column("unit_price", UNIT_PRICE, nullable=False),
    CheckConstraint("first_unit >= 1", name="starts_at_1_or_above"),
    CheckConstraint("last_unit >= first_unit", name="not_empty"),
    CheckConstraint("unit_price >= 0", name="price_not_negative"),
)

price_notices = Table(
    "price_notices",
    metadata,
    Column("price_id", BigInteger, ForeignKey("prices.id"), primary_key=True),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), primary_key=True),
    # The month that the price begins with, as booked when it was saved.
    Column("before", MONEY),
    Column("after", MONEY),
    Column("state", Text, nullable=False, server_default="prepared"),
    Column("sent_at", DateTime(timezone=True)),
    _ref("sent_by", "staff.id", nullable=True),
    CheckConstraint("state IN ('prepared','sent','dropped')", name="state_known"),
    CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent_is_complete"),
    Index("price_notices_customer_id_idx", "customer_id"),
)

purchase_prices = Table(
    "purchase_prices",
    metadata,
    _id(),
    _ref("product_id", "products.id"),
    Column("valid_from", Date, nullable=False),
    Column("unit_price", UNIT_PRICE, nullable=False),
    Column("withdrawn_at", DateTime(timezone=True)),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    CheckConstraint("valid_from = date_trunc('month', valid_from::timestamp)::date", name="from_first_of_month"),
    CheckConstraint("unit_price >= 0", name="price_not_negative"),
    Index(
        "purchase_prices_version_key",
        "product_id",
        "valid_from",
        unique=True,
        postgresql_where=text("withdrawn_at IS NULL"),
    ),
)

# ---------------------------------------------------------------- months, charges
months = Table(
    "months",
    metadata,
    Column("month", Date, primary_key=True),
    Column("state", Text, nullable=False, server_default="open"),
    Column("approved_at", DateTime(timezone=True)),
    _ref("approved_by", "staff.id", nullable=True),
    Column("locked_at", DateTime(timezone=True)),
    _ref("locked_by", "staff.id", nullable=True),
    CheckConstraint("state IN ('open','approved','locked')", name="state_known"),
    CheckConstraint("month = date_trunc('month', month::timestamp)::date", name="first_of_month"),
    Index("months_one_open_key", text("(true)"), unique=True, postgresql_where=text("state = 'open'")),
)

rated_months = Table(
    "rated_months",
    metadata,
    Column("month", Date, primary_key=True),
    _stamp("rated_at"),
)

charges = Table(
    "charges",
    metadata,
    Column("month", Date, primary_key=True),
    Column("customer_id", BigInteger, primary_key=True),
    Column("product_id", BigInteger, primary_key=True),
    Column("start_quantity", Integer, nullable=False),
    Column("end_quantity", Integer, nullable=False),
    _text("changes"),
    Column("price_id", BigInteger),
    Column("amount", MONEY),
    # What it costs us, where the product has a purchase price; and how many of the IPs at the end are internal.
    Column("purchase", MONEY),
    Column("internal", Integer),
)

adjustments = Table(
    "adjustments",
    metadata,
    _id(),
    _ref("customer_id", "customers.id"),
    Column("month", Date, nullable=False),
    Column("month_meant", Date, nullable=False),
    Column("text", Text, nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("reason", Text, nullable=False),
    Column("withdrawn_at", DateTime(timezone=True)),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    *_vat_of_line(),
    CheckConstraint("text <> '' AND reason <> ''", name="explained"),
    CheckConstraint("amount <> 0", name="amount_not_zero"),
    Index("adjustments_customer_id_idx", "customer_id", "month"),
    Index("adjustments_month_idx", "month"),
)

statements = Table(
    "statements",
    metadata,
    Column("customer_id", BigInteger, primary_key=True),
    Column("month", Date, primary_key=True),
    Column("amount", MONEY),
    # No foreign key: a document that is deleted releases its statements first, in lib/drafts.py.
    Column("invoice_id", BigInteger),
    Index("statements_amount_idx", "month", "amount", "customer_id"),
    Index("statements_unbilled_idx", "month", postgresql_where=text("invoice_id IS NULL AND amount <> 0")),
)

month_totals = Table(
    "month_totals",
    metadata,
    Column("month", Date, primary_key=True),
    Column("product_id", BigInteger, primary_key=True),
    Column("amount", MONEY, nullable=False),
    Column("charges", Integer, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    # NULL for months that were closed before these were kept.
    Column("purchase", MONEY),
    Column("internal", BigInteger),
)

# What takes long to add up in a large company, kept for a minute (lib/kept_figures.py).
kept_figures = Table(
    "kept_figures",
    metadata,
    Column("name", Text, primary_key=True),
    Column("day", Date, nullable=False),
    _stamp("at"),
    Column("value", JSONB, nullable=False),
)

# ---------------------------------------------------------------- invoices
invoices = Table(
    "invoices",
    metadata,
    _id(),
    Column("kind", Text, nullable=False, server_default="invoice"),
    Column("state", Text, nullable=False, server_default="draft"),
    Column("number", Text),
    Column("number_year", Integer),
    Column("number_index", Integer),
    # No foreign keys here and in the lines: triggers look at all rows of a statement at once (decision 53).
    Column("customer_id", BigInteger, nullable=False),
    Column("month", Date),
    Column("cancels_id", BigInteger),
    Column("issued_on", Date),
    Column("due_on", Date),
    Column("service_from", Date, nullable=False),
    Column("service_until", Date, nullable=False),
    _text("language", "de"),
    _text("currency", "EUR"),
    _text("purchase_order"),
    _text("intro"),
    _text("closing"),
    Column("net", MONEY, nullable=False, server_default="0"),
    Column("vat", MONEY, nullable=False, server_default="0"),
    Column("gross", MONEY, nullable=False, server_default="0"),
    Column("vat_category", Text),
    Column("vat_evidence", JSONB),
    Column("seller_id", BigInteger),
    Column("buyer", JSONB),
    _stamp("created_at"),
    Column("created_by", BigInteger),
    # Printed instead of the days of service, and empty but for an advance invoice: "12 months from receipt of …".
    _text("advance_period"),
    _version(),
    CheckConstraint("kind IN ('invoice','credit_note','cancellation')", name="kind_known"),
    CheckConstraint("state IN ('draft','issued','partly_paid','paid','written_off','cancelled')", name="state_known"),
    CheckConstraint(
        "(state = 'draft') = (number IS NULL) AND (number IS NULL) = (issued_on IS NULL)"
        " AND (number IS NULL) = (seller_id IS NULL) AND (number IS NULL OR buyer IS NOT NULL)"
        " AND (number IS NULL) = (number_index IS NULL) AND (number IS NULL) = (number_year IS NULL)"
        " AND (number IS NULL OR (vat_category IS NOT NULL AND due_on IS NOT NULL))",
        name="issued_is_complete",
    ),
    CheckConstraint("gross = net + vat", name="gross_is_net_plus_vat"),
    CheckConstraint("service_until >= service_from", name="service_period"),
    CheckConstraint("(kind = 'cancellation') = (cancels_id IS NOT NULL)", name="cancellation_names_original"),
    CheckConstraint("vat_category IN ('S','AE','O')", name="vat_category_known"),
    # Partial, so that a draft costs no entry in them.
    Index("invoices_number_key", "number", unique=True, postgresql_where=text("number IS NOT NULL")),
    Index("invoices_cancelled_once_key", "cancels_id", unique=True, postgresql_where=text("cancels_id IS NOT NULL")),
    Index("invoices_month_idx", "month", "id"),
    Index("invoices_customer_id_idx", "customer_id", "id"),
    # Few at any time, or never many: the states that people look for apart from issued ones.
    Index("invoices_drafts_idx", "id", postgresql_where=text("state = 'draft'")),
    Index(
        "invoices_unusual_idx",
        "state",
        "id",
        postgresql_where=text("state IN ('partly_paid', 'written_off', 'cancelled')"),
    ),
    Index("invoices_advance_idx", "issued_on", postgresql_where=text("advance_period <> ''")),
    # Read without the table itself: what waits for its money is added up on the first page.
    Index(
        "invoices_payable_idx",
        "due_on",
        postgresql_include=["id", "gross", "state"],
        postgresql_where=text("kind = 'invoice' AND state IN ('issued', 'partly_paid')"),
    ),
)

invoice_lines = Table(
    "invoice_lines",
    metadata,
    Column("invoice_id", BigInteger, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("product_id", BigInteger),
    Column("from_close", Boolean, nullable=False, server_default="false"),
    Column("name", Text, nullable=False),
    _text("detail"),
    Column("quantity", Numeric(26, 4), nullable=False),
    _text("unit"),
    Column("unit_price", UNIT_PRICE, nullable=False),
    Column("amount", MONEY, nullable=False),
    Column("vat_rate", Numeric(5, 2)),
    Column("service_from", Date),
    Column("service_until", Date),
    *_vat_of_line(),
    CheckConstraint("amount = round(quantity * unit_price, 2)", name="amount_is_quantity_times_price"),
    CheckConstraint("unit_price >= 0", name="price_not_negative"),
    CheckConstraint("name <> ''", name="name_given"),
    Index("invoice_lines_unrated_idx", "invoice_id", postgresql_where=text("vat_rate IS NULL")),
)

# A view: the sum of each rate's lines and its VAT, rounded once. The category of exempt lines is E.
invoice_taxes = table(
    "invoice_taxes", column("invoice_id"), column("rate"), column("category"), column("net"), column("vat")
)

documents = Table(
    "documents",
    metadata,
    Column("invoice_id", BigInteger, ForeignKey("invoices.id"), primary_key=True),
    Column("format", Text, primary_key=True, server_default="pdf"),
    Column("content", LargeBinary, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    _stamp("rendered_at"),
    CheckConstraint("sha256 = sha256(content)", name="hash_matches"),
)

# ---------------------------------------------------------------- a customer's people
customer_users = Table(
    "customer_users",
    metadata,
    _id(),
    _ref("customer_id", "customers.id"),
    _text("salutation"),
    _text("first_name"),
    _text("surname"),
    Column("email", Text, nullable=False),
    Column("is_main", Boolean, nullable=False, server_default="false"),
    Column("password_hash", Text),
    Column("invited_at", DateTime(timezone=True)),
    Column("registered_at", DateTime(timezone=True)),
    Column("deactivated_at", DateTime(timezone=True)),
    Column("invited_by", BigInteger),
    _stamp("created_at"),
    _version(),
    CheckConstraint("email <> ''", name="email_given"),
    CheckConstraint("registered_at IS NULL OR password_hash IS NOT NULL", name="registered_has_password"),
    CheckConstraint("NOT is_main OR deactivated_at IS NULL", name="main_is_not_deactivated"),
    Index("customer_users_email_key", func.lower(column("email")), unique=True),
    Index("customer_users_one_main_key", "customer_id", unique=True, postgresql_where=text("is_main")),
    Index("customer_users_customer_id_idx", "customer_id", "id"),
    Index(
        "customer_users_email_search_idx",
        func.lower(column("email")).label("email_lower"),
        postgresql_using="gin",
        postgresql_ops={"email_lower": "gin_trgm_ops"},
    ),
)

# Links that a mail carries: each works once, and until it expires. Only a hash of its secret is here.
user_links = Table(
    "user_links",
    metadata,
    _id(),
    Column("user_id", BigInteger, ForeignKey("customer_users.id", ondelete="CASCADE"), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("token_hash", LargeBinary),
    _stamp("created_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("used_at", DateTime(timezone=True)),
    Column("voided_at", DateTime(timezone=True)),
    CheckConstraint("purpose IN ('invite','password_reset','registration')", name="purpose_known"),
    Index("user_links_token_hash_key", "token_hash", unique=True),
    # A link is void once it is sent again: one of a purpose is alive at a time.
    Index(
        "user_links_one_alive_key",
        "user_id",
        "purpose",
        unique=True,
        postgresql_where=text("used_at IS NULL AND voided_at IS NULL"),
    ),
)

contacts = Table(
    "contacts",
    metadata,
    _id(),
    _ref("customer_id", "customers.id"),
    Column("name", Text, nullable=False),
    _text("phone"),
    _text("email"),
    Column("is_billing", Boolean, nullable=False, server_default="false"),
    _stamp("created_at"),
    _version(),
    CheckConstraint("name <> ''", name="name_given"),
    CheckConstraint("NOT is_billing OR email <> ''", name="billing_contact_has_email"),
    Index("contacts_customer_id_idx", "customer_id", "id"),
    Index("contacts_one_billing_key", "customer_id", unique=True, postgresql_where=text("is_billing")),
)

notes = Table(
    "notes",
    metadata,
    _id(),
    _ref("customer_id", "customers.id"),
    Column("text", Text, nullable=False),
    _stamp("created_at"),
    _ref("created_by", "staff.id", nullable=True),
    CheckConstraint("text <> ''", name="text_given"),
    Index("notes_customer_id_idx", "customer_id", "id"),
)

vat_checks = Table(
    "vat_checks",
    metadata,
    _id(),
    _ref("customer_id", "customers.id"),
    Column("vat_id", Text, nullable=False),
    _stamp("checked_at"),
    # NULL: the service did not answer, so nothing is known.
    Column("valid", Boolean),
    _text("reference"),
    _text("answer"),
    _ref("checked_by", "staff.id", nullable=True),
    Index("vat_checks_customer_id_idx", "customer_id", "id"),
)

# ---------------------------------------------------------------- what a customer uses
quotas = Table(
    "quotas",
    metadata,
    _id(),
    _ref("customer_id", "customers.id"),
    Column("kind", Text, nullable=False),
    Column("amount", Numeric(20, 3), nullable=False),
    # Kept by triggers, as usage comes and goes.
    Column("used", Numeric(20, 3), nullable=False, server_default="0"),
    Column("from_day", Date, nullable=False),
    # The last day of the quota; NULL: no end is known.
    Column("until_day", Date),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    _version(),
    CheckConstraint("kind IN ('credits','storage')", name="kind_known"),
    CheckConstraint("amount > 0", name="amount_positive"),
    CheckConstraint("used >= 0", name="used_not_negative"),
    CheckConstraint("until_day >= from_day", name="period_not_empty"),
    Index("quotas_customer_id_idx", "customer_id", "from_day"),
    # Those that warn: few of many.
    Index("quotas_nearly_used_idx", "customer_id", postgresql_where=text("used >= 0.8 * amount")),
    Index("quotas_until_day_idx", "until_day", postgresql_where=text("until_day IS NOT NULL")),
)

usage = Table(
    "usage",
    metadata,
    Column("customer_id", BigInteger, ForeignKey("customers.id"), primary_key=True),
    Column("day", Date, primary_key=True),
    # Each is NULL where the vendor's file did not say it.
    Column("users", Integer),
    Column("storage_gb", Numeric(20, 3)),
    # Consumed on this day; a quota is compared with the sum since it began.
    Column("credits", Numeric(20, 3)),
    Column("backups_ok", Integer),
    Column("backups_failed", Integer),
    _text("cloud_status"),
    Column("import_id", BigInteger),
    CheckConstraint(
        "users >= 0 AND storage_gb >= 0 AND credits >= 0 AND backups_ok >= 0 AND backups_failed >= 0",
        name="not_negative",
    ),
)

imports = Table(
    "imports",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("file_sha256", LargeBinary, nullable=False),
    Column("mapping", JSONB, nullable=False, server_default="{}"),
    Column("state", Text, nullable=False, server_default="queued"),
    # The file, until it is applied: it holds personal data, which the ledger of imports doesn't need.
    Column("content", LargeBinary),
    Column("rows", Integer, nullable=False, server_default="0"),
    Column("created", Integer, nullable=False, server_default="0"),
    Column("updated", Integer, nullable=False, server_default="0"),
    Column("unchanged", Integer, nullable=False, server_default="0"),
    Column("done_rows", Integer, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("leased_until", DateTime(timezone=True)),
    _text("last_error"),
    _stamp("created_at"),
    _ref("created_by", "staff.id", nullable=True),
    Column("applied_at", DateTime(timezone=True)),
    CheckConstraint("kind IN ('customers','contacts','users','bookings','usage')", name="kind_known"),
    CheckConstraint("state IN ('queued','applied','failed','withdrawn')", name="state_known"),
    CheckConstraint("(state = 'applied') = (applied_at IS NOT NULL)", name="applied_has_time"),
    Index("imports_due_idx", "due_at", postgresql_where=text("state = 'queued'")),
    # The same file twice changes nothing twice.
    Index("imports_applied_once_key", "kind", "file_sha256", unique=True, postgresql_where=text("state = 'applied'")),
)

# ---------------------------------------------------------------- mail
mail_server = Table(
    "mail_server",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, server_default="1"),
    _text("host"),
    Column("port", Integer, nullable=False, server_default="587"),
    Column("security", Text, nullable=False, server_default="starttls"),
    _text("username"),
    # Encrypted by lib/vault.py; NULL: the server asks for no password.
    Column("password", LargeBinary),
    _text("sender_address"),
    _text("sender_name"),
    _version(),
    CheckConstraint("id = 1", name="single_row"),
    CheckConstraint("port BETWEEN 1 AND 65535", name="port_range"),
    CheckConstraint("security IN ('none','starttls','tls')", name="security_known"),
)

mail_templates = Table(
    "mail_templates",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("language", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    _version(),
    CheckConstraint("language IN ('de','en')", name="language_known"),
    CheckConstraint("subject <> '' AND body <> ''", name="texts_given"),
)

mails = Table(
    "mails",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="queued"),
    Column("customer_id", BigInteger, ForeignKey("customers.id")),
    Column("recipient", Text, nullable=False),
    Column("subject", Text, nullable=False),
    # Where a link belongs stands {link}: it is filled in when the mail is sent, so nobody can read it here.
    Column("body", Text, nullable=False),
    Column("invoice_id", BigInteger, ForeignKey("invoices.id")),
    Column("link_id", BigInteger, ForeignKey("user_links.id", ondelete="SET NULL")),
    Column("message_id", Text, nullable=False, unique=True),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("leased_until", DateTime(timezone=True)),
    _text("last_error"),
    _stamp("created_at"),
    _ref("created_by", "staff.id", nullable=True),
    Column("sent_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('queued','sent','failed')", name="state_known"),
    CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent_has_time"),
    Index("mails_due_idx", "due_at", postgresql_where=text("state = 'queued'")),
    Index("mails_failed_idx", "id", postgresql_where=text("state = 'failed'")),
    Index("mails_customer_id_idx", "customer_id", "id"),
    Index("mails_invoice_id_idx", "invoice_id", postgresql_where=text("invoice_id IS NOT NULL")),
)

# ---------------------------------------------------------------- deleting a customer
deletions = Table(
    "deletions",
    metadata,
    _id(),
    _ref("customer_id", "customers.id"),
    _stamp("requested_at"),
    _ref("requested_by", "staff.id", nullable=True),
    # Erased by the worker from then on; until then it can be taken back.
    Column("due_at", DateTime(timezone=True), nullable=False),
    # The customer's end date before: its subscription ends with the billing period unless that is taken back.
    Column("ends_on_before", Date),
    Column("taken_back_at", DateTime(timezone=True)),
    _ref("taken_back_by", "staff.id", nullable=True),
    Column("erased_at", DateTime(timezone=True)),
    # What the last invoice needs is erased too, from then on: that invoice is issued and settled.
    Column("settled_at", DateTime(timezone=True)),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _text("last_error"),
    CheckConstraint("taken_back_at IS NULL OR erased_at IS NULL", name="erased_is_not_taken_back"),
    CheckConstraint("settled_at IS NULL OR erased_at IS NOT NULL", name="settled_was_erased"),
    Index("deletions_customer_id_key", "customer_id", unique=True, postgresql_where=text("taken_back_at IS NULL")),
    Index(
        "deletions_due_idx",
        "due_at",
        postgresql_where=text("taken_back_at IS NULL AND settled_at IS NULL"),
    ),
)

deletion_items = Table(
    "deletion_items",
    metadata,
    Column("deletion_id", BigInteger, ForeignKey("deletions.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("what", Text, nullable=False),
    Column("treatment", Text, nullable=False),
    Column("count", Integer, nullable=False),
    Column("kept_until", Date),
    _text("reason"),
    Column("done_at", DateTime(timezone=True)),
    CheckConstraint("treatment IN ('erased','kept')", name="treatment_known"),
    CheckConstraint("treatment = 'erased' OR reason <> ''", name="kept_for_a_reason"),
)

duties = Table(
    "duties",
    metadata,
    _id(),
    _ref("deletion_id", "deletions.id"),
    Column("what", Text, nullable=False),
    Column("signed_off_at", DateTime(timezone=True)),
    _ref("signed_off_by", "staff.id", nullable=True),
    CheckConstraint("(signed_off_at IS NULL) = (signed_off_by IS NULL)", name="signed_off_by_somebody"),
    UniqueConstraint("deletion_id", "what", name="duties_what_key"),
    Index("duties_open_idx", "id", postgresql_where=text("signed_off_at IS NULL")),
)

# ---------------------------------------------------------------- second factor of staff
second_factors = Table(
    "second_factors",
    metadata,
    Column("staff_id", BigInteger, ForeignKey("staff.id"), primary_key=True),
    # Encrypted by lib/vault.py.
    Column("secret", LargeBinary, nullable=False),
    Column("confirmed_at", DateTime(timezone=True)),
    # The time step of the last code that was used: a code works once.
    Column("last_step", BigInteger, nullable=False, server_default="0"),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("staff_id", BigInteger, ForeignKey("staff.id"), primary_key=True),
    Column("code_hash", LargeBinary, primary_key=True),
    Column("used_at", DateTime(timezone=True)),
)

# ---------------------------------------------------------------- payments
payments = Table(
    "payments",
    metadata,
    _id(),
    _ref("invoice_id", "invoices.id"),
    # In the document's currency; negative where a payment is reversed.
    Column("amount", MONEY, nullable=False),
    Column("paid_on", Date, nullable=False),
    Column("method", Text, nullable=False),
    _text("reference"),
    _text("reason"),
    Column("reverses_id", BigInteger, ForeignKey("payments.id")),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    CheckConstraint("amount <> 0", name="amount_not_zero"),
    CheckConstraint("(reverses_id IS NULL) = (amount > 0)", name="reversal_is_negative"),
    CheckConstraint("(reverses_id IS NULL) = (reason = '')", name="reversal_has_reason"),
    CheckConstraint("method IN ('bank_transfer','direct_debit','card','cash','other')", name="method_known"),
    Index("payments_invoice_id_idx", "invoice_id", "id"),
    Index("payments_reversed_once_key", "reverses_id", unique=True, postgresql_where=text("reverses_id IS NOT NULL")),
)

# ---------------------------------------------------------------- payment methods
payment_methods = Table(
    "payment_methods",
    metadata,
    Column("code", Text, primary_key=True),
    Column("active", Boolean, nullable=False, server_default="true"),
    # Who we are to the banks that collect by direct debit.
    _text("creditor_id"),
    _version(),
    CheckConstraint("code IN ('bank_transfer','direct_debit','card','project_key','free')", name="code_known"),
    CheckConstraint("creditor_id = '' OR code = 'direct_debit'", name="creditor_of_direct_debit"),
)

mandates = Table(
    "mandates",
    metadata,
    _id(),
    _ref("customer_id", "customers.id"),
    Column("reference", Text, nullable=False, unique=True),
    Column("holder", Text, nullable=False),
    # Encrypted by lib/vault.py; its last four characters are shown.
    Column("iban", LargeBinary, nullable=False),
    Column("iban_ending", Text, nullable=False),
    _text("bic"),
    Column("signed_on", Date, nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    CheckConstraint("reference ~ '^[A-Za-z0-9+?/:().,''-]{1,35}$'", name="reference_plain"),
    Index("mandates_customer_id_idx", "customer_id", "id"),
    Index("mandates_one_valid_key", "customer_id", unique=True, postgresql_where=text("revoked_at IS NULL")),
)

debit_runs = Table(
    "debit_runs",
    metadata,
    _id(),
    Column("month", Date, nullable=False),
    Column("collect_on", Date, nullable=False),
    Column("message_id", Text, nullable=False, unique=True),
    # The file for the bank, encrypted by lib/vault.py; NULL once somebody in it was erased.
    Column("content", LargeBinary),
    Column("collected_at", DateTime(timezone=True)),
    Column("withdrawn_at", DateTime(timezone=True)),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    CheckConstraint("month = date_trunc('month', month::timestamp)::date", name="first_of_month"),
    CheckConstraint("collected_at IS NULL OR withdrawn_at IS NULL", name="collected_or_withdrawn"),
)

debits = Table(
    "debits",
    metadata,
    _id(),
    _ref("run_id", "debit_runs.id"),
    _ref("invoice_id", "invoices.id"),
    Column("mandate_id", BigInteger, ForeignKey("mandates.id", ondelete="SET NULL")),
    Column("sequence", Text, nullable=False),
    Column("amount", MONEY, nullable=False),
    _ref("payment_id", "payments.id", nullable=True),
    Column("returned_at", DateTime(timezone=True)),
    _text("return_reason"),
    CheckConstraint("amount > 0", name="amount_positive"),
    CheckConstraint("sequence IN ('FRST','RCUR')", name="sequence_known"),
    CheckConstraint("(returned_at IS NULL) = (return_reason = '')", name="return_has_reason"),
    Index("debits_run_id_idx", "run_id", "id"),
    Index("debits_mandate_id_idx", "mandate_id"),
    # For drafts that are deleted by the thousand, too: each is looked for here.
    Index("debits_invoice_id_idx", "invoice_id"),
    # An invoice is in one run until it came back.
    Index("debits_once_key", "invoice_id", unique=True, postgresql_where=text("returned_at IS NULL")),
)

stripe_account = Table(
    "stripe_account",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, server_default="1"),
    # Encrypted by lib/vault.py; the endings are shown.
    Column("secret_key", LargeBinary),
    _text("secret_key_ending"),
    Column("publishable_key", LargeBinary),
    _text("publishable_key_ending"),
    Column("webhook_secret", LargeBinary),
    _text("webhook_secret_ending"),
    _text("mode"),
    # As Stripe named it when the connection was tested.
    _text("account_name"),
    Column("tested_at", DateTime(timezone=True)),
    _version(),
    CheckConstraint("id = 1", name="single_row"),
    CheckConstraint("mode IN ('','test','live')", name="mode_known"),
)

stripe_cards = Table(
    "stripe_cards",
    metadata,
    Column("customer_id", BigInteger, ForeignKey("customers.id"), primary_key=True),
    Column("mode", Text, primary_key=True),
    Column("stripe_customer", Text, nullable=False, unique=True),
    # Empty while no card is saved.
    _text("payment_method"),
    _text("brand"),
    _text("ending"),
    _text("expires"),
    Column("saved_at", DateTime(timezone=True)),
    CheckConstraint("mode IN ('test','live')", name="mode_known"),
)

stripe_requests = Table(
    "stripe_requests",
    metadata,
    _id(),
    # What Stripe knows a repeated request by: asked twice, it is done once.
    Column("key", Uuid, nullable=False, unique=True, server_default=text("gen_random_uuid()")),
    # A card is saved (setup), an invoice paid by a link (payment) or charged to the card, or all of somebody erased.
    Column("kind", Text, nullable=False),
    Column("mode", Text, nullable=False),
    _ref("customer_id", "customers.id"),
    _ref("invoice_id", "invoices.id", nullable=True),
    Column("amount", MONEY),
    _text("currency"),
    Column("state", Text, nullable=False, server_default="new"),
    Column("reference", Text, unique=True),
    Column("intent", Text, unique=True),
    _text("url"),
    _text("return_to"),
    # What Stripe said last that we got of it, less what went back; payment_id is the payment that says so.
    Column("received", MONEY, nullable=False, server_default="0"),
    _ref("payment_id", "payments.id", nullable=True),
    _text("note"),
    # When Stripe is asked about it next; NULL: nothing more can come of it.
    Column("due_at", DateTime(timezone=True), server_default=func.now()),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("leased_until", DateTime(timezone=True)),
    _text("last_error"),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    CheckConstraint("kind IN ('setup','payment','charge','erasure')", name="kind_known"),
    CheckConstraint("mode IN ('test','live')", name="mode_known"),
    CheckConstraint("state IN ('new','open','done','failed','expired')", name="state_known"),
    CheckConstraint(
        "(kind IN ('payment','charge')) = (invoice_id IS NOT NULL)"
        " AND (invoice_id IS NULL) = (amount IS NULL) AND amount > 0",
        name="payment_names_invoice",
    ),
    CheckConstraint("received >= 0", name="received_not_negative"),
    Index("stripe_requests_due_idx", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index("stripe_requests_customer_id_idx", "customer_id", "id"),
    Index("stripe_requests_invoice_id_idx", "invoice_id", postgresql_where=text("invoice_id IS NOT NULL")),
    Index(
        "stripe_requests_one_open_key",
        "invoice_id",
        unique=True,
        postgresql_where=text("state IN ('new','open') AND kind IN ('payment','charge')"),
    ),
    Index(
        "stripe_requests_one_setup_key",
        "customer_id",
        unique=True,
        postgresql_where=text("state IN ('new','open') AND kind = 'setup'"),
    ),
)

stripe_events = Table(
    "stripe_events",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    _stamp("received_at"),
)

# ---------------------------------------------------------------- prepaid terms
terms = Table(
    "terms",
    metadata,
    _id(),
    _ref("customer_id", "customers.id"),
    Column("product_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("cycle", Text, nullable=False),
    # A paid term waits until its invoice is paid in full; a void one never began, or its order was withdrawn.
    Column("state", Text, nullable=False),
    Column("ordered_on", Date, nullable=False),
    # Half-open: until_day is the first day without it. NULL: not known yet, or (free) no end.
    Column("from_day", Date),
    Column("until_day", Date),
    # Net, for the whole cycle, before any credit.
    Column("price", MONEY),
    Column("invoice_id", BigInteger, ForeignKey("invoices.id")),
    # The term that this one renews, or that it ends as it begins: a test, or the smaller plan.
    _ref("follows_id", "terms.id", nullable=True),
    _ref("replaces_id", "terms.id", nullable=True),
    # What its renewal will be, where that was changed for the end of the period.
    Column("next_product_id", BigInteger),
    Column("next_cycle", Text),
    Column("cancelled_at", DateTime(timezone=True)),
    Column("withdrawn_at", DateTime(timezone=True)),
    Column("trial_allowed_again", Boolean, nullable=False, server_default="false"),
    # Why its renewal could not be drafted, and when that was tried.
    Column("renewal_tried_on", Date),
    _text("renewal_refusal"),
    _stamp(),
    _ref("recorded_by", "staff.id", nullable=True),
    _version(),
    ForeignKeyConstraint(["product_id", "kind"], ["products.id", "products.kind"], name="terms_product_fkey"),
    ForeignKeyConstraint(["next_product_id", "kind"], ["products.id", "products.kind"], name="terms_next_product_fkey"),
    CheckConstraint("kind IN ('plan','module')", name="kind_known"),
    CheckConstraint("cycle IN ('free','trial','monthly','yearly')", name="cycle_known"),
    CheckConstraint("next_cycle IN ('monthly','yearly')", name="next_cycle_known"),
    CheckConstraint("(next_product_id IS NULL) = (next_cycle IS NULL)", name="next_is_whole"),
    CheckConstraint("state IN ('waiting','active','void')", name="state_known"),
    CheckConstraint("state <> 'active' OR from_day IS NOT NULL", name="active_has_start"),
    CheckConstraint("until_day > from_day", name="period_not_empty"),
    CheckConstraint("cycle = 'free' OR state <> 'active' OR until_day IS NOT NULL", name="only_free_is_endless"),
    CheckConstraint(
        "state <> 'waiting' OR cycle IN ('monthly','yearly') AND from_day IS NULL AND until_day IS NULL",
        name="only_paid_waits",
    ),
    CheckConstraint("(cycle IN ('monthly','yearly')) = (price IS NOT NULL)", name="paid_has_price"),
    CheckConstraint(
        "state = 'void' OR (cycle IN ('monthly','yearly')) = (invoice_id IS NOT NULL)", name="paid_has_invoice"
    ),
    CheckConstraint("price >= 0", name="price_not_negative"),
    Index("terms_customer_id_idx", "customer_id", "product_id"),
    Index("terms_invoice_id_idx", "invoice_id", postgresql_where=text("invoice_id IS NOT NULL")),
    Index("terms_waiting_idx", "invoice_id", postgresql_where=text("state = 'waiting'")),
    Index("terms_ends_idx", "until_day", postgresql_where=text("state = 'active'")),
    Index(
        "terms_one_waiting_key", "customer_id", "product_id", unique=True, postgresql_where=text("state = 'waiting'")
    ),
    Index(
        "terms_one_waiting_plan_key",
        "customer_id",
        unique=True,
        postgresql_where=text("state = 'waiting' AND kind = 'plan'"),
    ),
    Index(
        "terms_one_trial_key",
        "customer_id",
        "product_id",
        unique=True,
        postgresql_where=text("cycle = 'trial' AND NOT trial_allowed_again"),
    ),
    Index(
        "terms_renewed_once_key",
        "follows_id",
        unique=True,
        postgresql_where=text("follows_id IS NOT NULL AND state <> 'void'"),
    ),
)
