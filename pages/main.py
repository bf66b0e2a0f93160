"""Streamlit's entry: the frame with all pages."""

from pages.shared import frame

frame.draw(frame.PAGES)
