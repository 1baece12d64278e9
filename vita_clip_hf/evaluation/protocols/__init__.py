"""Named protocols: a YAML file of facts each, printed with every number and stored in its report."""

from .protocol import Protocol, TestSplit, describe_facts, load_protocol, protocol_names

__all__ = ["Protocol", "TestSplit", "describe_facts", "load_protocol", "protocol_names"]
