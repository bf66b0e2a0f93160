"""A product's texts and measure: read, added and edited in a drawer."""

from uuid import UUID, uuid4

import streamlit as st

from lib import products, vat
from lib.auth import Permission, User
from lib.products import Product
from pages.shared import forms, session, ui

PRODUCT = "product_form"
TEXTS = ("name_de", "name_en", "description_de", "description_en", "unit_de", "unit_en")
IN_ADVANCE = ("test_days", "yearly_price")
VAT = ("vat_treatment", *products.REASONS)
PRODUCT_FIELDS = (*TEXTS, "measure", "article_number", "position", "revenue_account", *VAT, "on_sale")


def facts(product: Product, *, user: User, currency: str) -> None:
    """What the product is called, how it is measured, and what it is sold for in advance."""
    advance = {}
    if product.kind in products.IN_ADVANCE:
        advance = {
            "Test time": ui.count(product.test_days, "day") if product.test_days else "None",
            f"Price of a year ({currency})": ui.money(product.yearly_price),
        }
    ui.facts(
        {
            "Kind": products.KINDS[product.kind],
            "Code": product.code,
            "German name": product.name_de,
            "English name": product.name_en,
            "German description": product.description_de,
            "English description": product.description_en,
            "Unit": f"{product.unit_de} / {product.unit_en}",
            "A month is measured by": products.MEASURES[product.measure],
            "Article number": product.article_number,
            "Position on documents": str(product.position),
            "Revenue account": product.revenue_account,
            "VAT": _taxed(product),
            **advance,
            "State": "On sale" if product.on_sale else "Withdrawn from sale",
        },
        alt="The product",
    )
    if user.may(Permission.EDIT_PRODUCTS) and st.button("Edit product", key="product_edit", icon=":material/edit:"):
        open_drawer(product)


def _taxed(product: Product) -> str:
    said = vat.TREATMENTS[product.vat_treatment]
    if product.vat_treatment != "exempt":
        return said
    return f"{said}: {product.exempt_reason_de} / {product.exempt_reason_en}"


def open_drawer(product: Product | None) -> None:
    """Fill the form and open it: what an earlier drawer left in its fields must not show up here."""
    if product is None:
        texts = dict.fromkeys(TEXTS, "") | {"unit_de": "Stück", "unit_en": "unit", "article_number": ""}
        rest = {"kind": "option", "code": "", "measure": "daily", "position": "100", "on_sale": True}
        empty = dict.fromkeys((*IN_ADVANCE, "revenue_account", *products.REASONS), "")
        forms.fill(PRODUCT, texts | rest | empty | {"vat_treatment": "standard"})
    else:
        values = {name: vars(product)[name] for name in PRODUCT_FIELDS} | {"position": str(product.position)}
        values["test_days"] = "" if product.test_days is None else str(product.test_days)
        values["yearly_price"] = "" if product.yearly_price is None else ui.money(product.yearly_price)
        forms.fill(PRODUCT, values, version=product.version)
    product_drawer(product, uuid4())


def _usual_measure() -> None:
    """Another kind is usually measured in another way."""
    st.session_state[f"{PRODUCT}_measure"] = products.DEFAULT_MEASURE[st.session_state[f"{PRODUCT}_kind"]]


@st.dialog("Product", width="medium", position="right", icon=":material/sell:")
def product_drawer(product: Product | None, request_key: UUID) -> None:
    """The form for a new product, or for the texts and the measure of one."""
    session.close_or_explain()
    if product is None:
        left, right = st.columns(2)
        with left:
            forms.choice(
                PRODUCT, "kind", "Kind", products.BOOKABLE, lambda name: products.KINDS[name], on_change=_usual_measure
            )
        with right:
            forms.text(PRODUCT, "code", "Code", help="Letters, digits and hyphens; names the product in exports.")
    with st.form("product", border=False):
        german, english = st.columns(2)
        for column, language, name in ((german, "de", "German"), (english, "en", "English")):
            with column:
                forms.text(PRODUCT, f"name_{language}", f"{name} name")
                forms.text(PRODUCT, f"unit_{language}", f"{name} unit")
                forms.block(PRODUCT, f"description_{language}", f"{name} description", height=90)
        forms.choice(
            PRODUCT, "measure", "A month is measured by", products.MEASURES, lambda name: products.MEASURES[name]
        )
        left, right = st.columns(2)
        with left:
            forms.text(PRODUCT, "article_number", "Article number")
        with right:
            forms.text(PRODUCT, "position", "Position on documents")
        with left:
            forms.text(PRODUCT, "revenue_account", "Revenue account (optional)", help="For the bookkeeping, e.g. 4400.")
        with right:
            forms.choice(
                PRODUCT, "vat_treatment", "VAT", vat.TREATMENTS, lambda name: vat.TREATMENTS[name],
                help="In Germany; abroad the country decides. A change holds for what is drafted from now on.",
            )  # fmt: skip
        if _kind(product) in products.IN_ADVANCE:
            with left:
                forms.text(PRODUCT, "test_days", "Test time in days (optional)", help="Once per customer.")
            with right:
                forms.text(
                    PRODUCT, "yearly_price", "Price of a year, net (optional)",
                    help="For who pays a year in advance. A month in advance costs the selling price of a month.",
                )  # fmt: skip
        _draw_reasons()
        st.toggle("On sale", key=f"{PRODUCT}_on_sale", help="Off: nobody can book it any more; what is booked goes on.")
        st.form_submit_button(
            "Save product" if product else "Add product",
            key="product_save",
            type="primary",
            on_click=_edit_product if product else _add_product,
            args=(product,) if product else (request_key,),
        )


def _draw_reasons() -> None:
    for column, (name, language) in zip(st.columns(2), products.REASONS.items(), strict=True):
        with column:
            forms.text(
                PRODUCT, name, f"If exempt: why, in {language}", placeholder=vat.EXAMPLES[name[-2:]],
                help="Printed on documents: § 14 (4) no. 8 UStG.",
            )  # fmt: skip


def _kind(product: Product | None) -> str:
    return product.kind if product else str(st.session_state[f"{PRODUCT}_kind"])


def _fields(product: Product | None) -> tuple[str, ...]:
    return (*PRODUCT_FIELDS, *(IN_ADVANCE if _kind(product) in products.IN_ADVANCE else ()))


def _add_product(request_key: UUID) -> None:
    typed = forms.typed(PRODUCT, ("kind", "code", *_fields(None)))
    kind, code = typed.pop("kind"), typed.pop("code")
    saved = forms.save(
        PRODUCT,
        products.add,
        kind=kind,
        code=code,
        details=typed,
        request_key=request_key,
        success="The product is added.",
    )
    if saved:
        st.session_state.product = session.result()


def _edit_product(product: Product) -> None:
    changes = forms.typed(PRODUCT, _fields(product))
    forms.save(
        PRODUCT,
        products.edit,
        product.id,
        version=forms.version(PRODUCT),
        changes=changes,
        success="The product is saved.",
    )
