"""Streamlit's entry to the portal: the frame with its pages."""

from pages.portal.shared import frame

frame.draw(frame.PAGES)
