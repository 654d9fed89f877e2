"""Each rule of the protocol taken out of the sources: histories must notice."""

from __future__ import annotations

import pytest

from chaos.mutants import BELTS, MUTANTS, NOT_APPLICABLE
from chaos.mutation import ROOT, Edit, Mutator
from chaos.rule_search import search, search_all

#: Rules of the protocol's specification: what is loaded must be taken out, or said why not.
RULES = [
    "fifo",
    "judge_at_turn",
    "enqueue_first",
    "one_pending",
    "ack_after_commit",
    "dup_ack_after_commit",
    "show_after_commit",
    "insert_once",
    "first_wins",
    "tombstone",
    "unique_tag",
    "unknown_keep",
    "unknown_no_trace",
    "orphan_expiry",
    "rebind",
    "rebind_newer",
    "hello_once",
    "stale",
    "unique_session",
    "inventory_in_session",
    "reconcile",
    "reconcile_in_order",
    "dispatch_after_reconcile",
    "no_adopt",
    "verdict_fence",
    "task_session_fence",
    "seen_tags",
    "retransmit",
    "keep_result",
    "clone",
    "amo_commit_first",
    "amo_handed",
    "amo_spool_id",
    "amo_vanished",
    "amo_restart",
    "sid_unique",
    "session_fence",
    "resume",
    "session_keep",
    "seq_dedupe",
    "resume_unsent",
    "count_running",
    "suspect",
    "loss_once",
    "events_ride",
    "event_exec",
]
#: Taken out, these are missed within a few histories.
QUICK = ("ack_after_commit", "insert_once", "tombstone", "unknown_keep", "reconcile", "unique_session")
QUICK += ("amo_spool_id", "amo_vanished", "suspect", "events_ride")
#: Taken out, these are missed after a thousand histories and more: docs/reliability.md says after how many.
RARE = ("no_adopt", "verdict_fence")


def test_every_rule_is_in_the_table() -> None:
    assert list(MUTANTS) == [rule for rule in RULES if rule not in NOT_APPLICABLE]


@pytest.mark.parametrize("rule", MUTANTS)
def test_the_table_follows_the_sources(rule: str) -> None:
    mutator = Mutator(MUTANTS[rule])
    for path, source in mutator.sources.items():
        compile(source, str(path), "exec")


def test_an_old_text_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match="has this text 0 times"):
        Mutator([Edit("chaos/histories.py", "no such text", "")])
    assert (ROOT / "chaos").is_dir()


@pytest.mark.timeout(300)
def test_rules_that_are_missed_at_once() -> None:
    missed = {each.rule: each for each in search_all(QUICK, histories=200, seed=1, enough=1, jobs=2)}
    assert [rule for rule in QUICK if not missed[rule].killed] == []


def test_a_search_that_cannot_run_says_why() -> None:
    found = search("no such rule", histories=1, seed=1, enough=1, timeout_s=60)
    assert "invalid choice" in found.error


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_rule_but_the_belts_is_missed() -> None:
    rules = [rule for rule in MUTANTS if rule not in BELTS and rule not in RARE]
    found = list(search_all(rules, histories=4000, seed=1, enough=1, jobs=2))
    assert [each for each in found if not each.killed or each.error] == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_belts_are_belts() -> None:
    found = list(search_all(BELTS, histories=500, seed=1, enough=1, jobs=2))
    assert [each for each in found if each.killed or each.error] == []
