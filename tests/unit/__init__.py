"""Tests of single rooms of the house."""
