"""Engines: serving sessions on Parsl workers or plain processes."""
