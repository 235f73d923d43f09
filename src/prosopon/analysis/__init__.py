"""Masks as explanations."""
