"""Every rule of the protocol, and the edits of the sources that take it out.

An old text that is not there once is an error: the table must follow the sources. `rule_search` looks for
what goes wrong without a rule.
"""

from __future__ import annotations

from chaos.mutation import Edit

_HUB = "hub_service/funcx_lab_hub_service"
_AGENT = "endpoint/funcx_lab_endpoint"
_SUBMITTING, _FACTS = f"{_HUB}/submitting.py", f"{_HUB}/facts.py"
_OUTCOMES, _STATE = f"{_HUB}/store/outcomes.py", f"{_HUB}/forwarder/dispatch_state.py"
_AGENT_STATE, _SESSIONS = f"{_AGENT}/agent_state.py", f"{_AGENT}/engine/sessions.py"
_SIDE, _WIRE = f"{_AGENT}/engine/side_channel.py", f"{_AGENT}/worker/wire.py"
_SUBMIT = "        self._database.submit(operation, done, patience_s=patience)\n"
#: Heartbeats without a digest of the inventory. It makes up for some rules, a minute later; where it does,
#: it is taken out with them.
_NO_DIGEST = Edit(_AGENT_STATE, "self._digests.due(now) if self._link.ready else None", "None")
_ADOPTABLE = "t.state < 5 AND t.outcome_seq IS NULL AND coalesce(t.session, 0) < ?"
_NOT_KEPT = "            elif options is not None and options.at_most_once and leased"
_SKIP_QUEUED = "            elif task.state == QUEUED:\n                pass\n"
_REQUEUED = "                self._moved(verdict.requeued)\n\n"

#: The edits that take a rule out, in the order of section 3b of the protocol.
MUTANTS: dict[str, tuple[Edit, ...]] = {
    # --- the single writer, and dispatch that overlaps the commit
    "fifo": (
        Edit(f"{_HUB}/store/database.py", "_Entry | None] = queue.SimpleQueue()", "Any] = queue.LifoQueue()"),
    ),
    "judge_at_turn": (
        Edit(
            _FACTS,
            _REQUEUED + "        self._database.submit(operation, committed)\n",
            _REQUEUED + "        committed(operation(self._database.reader), None)\n",
        ),
    ),
    "enqueue_first": (
        Edit(
            _SUBMITTING,
            _SUBMIT,
            "        asyncio.get_running_loop().call_later(0.3, self._database.submit, operation, done)\n",
        ),
    ),
    "one_pending": (
        Edit(
            _SUBMITTING,
            "if not self._pending.isdisjoint(task_ids) or store.known_ids(self._database.reader, task_ids):",
            "if store.known_ids(self._database.reader, task_ids):",
        ),
    ),
    "ack_after_commit": (
        Edit(_SUBMITTING, _SUBMIT, _SUBMIT + "        answer.set_result(refused)\n"),
        Edit(_SUBMITTING, "            if answer.cancelled():\n", "            if answer.done():\n"),
    ),
    "dup_ack_after_commit": (
        Edit(
            _SUBMITTING,
            "        if not taken:\n            return _settled(refused)\n",
            "        if self._pending.issuperset(task.task_id for task in taken):\n"
            "            return _settled(refused)\n",
        ),
    ),
    "show_after_commit": (
        Edit(
            _FACTS,
            _REQUEUED + "        self._database.submit(operation, committed)\n",
            _REQUEUED + "        def show(connection: sqlite3.Connection) -> Verdict:\n"
            "            verdict = operation(connection)\n            self.publish(verdict.ended)\n"
            "            return verdict\n\n        self._database.submit(show, committed)\n",
        ),
    ),
    "insert_once": (
        Edit(f"{_HUB}/store/intake.py", '"INSERT OR IGNORE INTO tasks', '"INSERT OR REPLACE INTO tasks'),
    ),
    "first_wins": (
        Edit(
            _OUTCOMES,
            "if task.state < FINAL and task.key not in group:\n                new",
            "if task.key not in group:\n                new",
        ),
        Edit(
            f"{_HUB}/store/moves.py",
            '        " WHERE id = ? AND outcome_seq IS NULL",\n        rows,',
            '        " WHERE id = ?",\n        rows,',
        ),
        Edit(_OUTCOMES, '"INSERT INTO results VALUES', '"INSERT OR REPLACE INTO results VALUES'),
    ),
    "tombstone": (
        Edit(
            f"{_HUB}/store/retention.py",
            "    bury(connection, ((task_id, owner) for _, task_id, owner, *_ in over), now)\n",
            "",
        ),
    ),
    "unique_tag": (
        Edit(
            _STATE,
            "        self._take_numbers = take_numbers\n",
            "        self._take_numbers = take_numbers\n        self._tags = 0\n",
        ),
        Edit(
            _STATE,
            "        first = self._take_numbers(count) if count else 0\n",
            "        first = self._tags + 1\n        self._tags += count\n",
        ),
        Edit(
            _STATE,
            "        first = self._take_numbers(count)\n",
            "        first = self._tags + 1\n        self._tags += count\n",
        ),
    ),
    # --- tasks unknown to the hub service
    "unknown_keep": (
        Edit(
            _OUTCOMES,
            "                verdict.unknown.append((result.task_id, result.tag))\n",
            "                verdict.acked.append((result.task_id, result.execution))\n",
        ),
    ),
    "unknown_no_trace": (
        Edit(
            _OUTCOMES,
            "                verdict.unknown.append((result.task_id, result.tag))\n",
            "                verdict.unknown.append((result.task_id, result.tag))\n"
            '                connection.execute("INSERT OR IGNORE INTO tombstones (task_id, owner, purged)"\n'
            '                    " SELECT ?, owner, 0 FROM endpoints", (result.task_id,))\n',
        ),
    ),
    "orphan_expiry": (
        Edit(
            _AGENT_STATE,
            "            if since is not None and now >= since",
            "            if since is None and now >= now",
        ),
    ),
    "rebind": (Edit(_AGENT_STATE, "        if item.tag > holding.tag:\n", "        if item.tag is None:\n"),),
    "rebind_newer": (
        _NO_DIGEST,
        Edit(_AGENT_STATE, "        if item.tag > holding.tag:\n", "        if item.tag != holding.tag:\n"),
    ),
    # --- the agents' link
    "hello_once": (
        Edit(
            _STATE,
            "        if session is not None and session.nonce == hello.nonce:\n",
            "        if session is not None and session.nonce is hello:\n",
        ),
    ),
    "stale": (
        Edit(
            _STATE,
            "            return [Send(peer, Stale(number))] if number else []\n",
            "            return [AcknowledgeSoon()]\n",
        ),
    ),
    "unique_session": (
        Edit(
            _STATE,
            "        number = self._take_numbers(1)\n",
            "        number = self._granted = getattr(self, '_granted', 0) + 1\n",
        ),
    ),
    "inventory_in_session": (
        _NO_DIGEST,
        Edit(
            _AGENT_STATE,
            "        self._do(Send(self._link.hello(now)))\n",
            "        self._do(Send(self._link.hello(now)))\n"
            "        self._told = self._holdings.inventory()\n",
        ),
        Edit(
            _AGENT_STATE,
            "Inventory(message.session, self._holdings.inventory())",
            "Inventory(message.session, self._told)",
        ),
    ),
    "reconcile": (Edit(_OUTCOMES, "            else:\n                back.append(task.out)\n", ""),),
    "reconcile_in_order": (
        Edit(
            _FACTS,
            "        self._database.submit(\n            lambda connection: self._writer.reconcile(\n"
            "                connection, endpoint, session, spool, inventory, self._clock()\n"
            "            ),\n            committed,\n        )\n",
            "        committed(self._writer.reconcile(\n            self._database.reader, endpoint, session,"
            " spool, inventory, self._clock()), None)\n",
        ),
    ),
    "dispatch_after_reconcile": (
        Edit(
            _STATE,
            "        return self.session is not None and self.session.verdict is not None\n",
            "        return self.session is not None\n",
        ),
        Edit(
            _STATE,
            "if session is None or session.verdict is None or not self.backlog",
            "if session is None or not self.backlog",
        ),
    ),
    "no_adopt": (
        _NO_DIGEST,
        Edit(_OUTCOMES, "t.state IN (0, 2, 3, 4) AND t.outcome_seq IS NULL AND t.session < ?", _ADOPTABLE),
        Edit(
            _OUTCOMES,
            "            if inventory.get(task.task_id) == task.tag:\n",
            "            if task.task_id in inventory:\n                task.tag = inventory[task.task_id]\n"
            '                connection.execute("UPDATE tasks SET state = 2, tag = ?, session = ?"\n'
            '                    " WHERE id = ?", (task.tag, session, task.key))\n',
        ),
        Edit(_OUTCOMES, _NOT_KEPT, _SKIP_QUEUED + _NOT_KEPT),
    ),
    "verdict_fence": (
        _NO_DIGEST,
        Edit(
            _AGENT_STATE,
            "            if holding is not None and holding.tag == tag:\n",
            "            if holding is not None:\n",
        ),
    ),
    "task_session_fence": (
        Edit(
            _AGENT_STATE,
            "            case Tasks() if message.session == self.session:\n",
            "            case Tasks():\n",
        ),
    ),
    "seen_tags": (
        Edit(_AGENT_STATE, "            is_late = lease in self._seen\n", "            is_late = False\n"),
    ),
    "retransmit": (
        Edit(
            _STATE,
            "        late = self.leases.overdue(now, RETRANSMIT_S)\n",
            "        late: list[TaskItem] = []\n",
        ),
    ),
    "keep_result": (
        Edit(
            f"{_AGENT}/outbox.py",
            "            self._in_flight[key] = now\n",
            "            self._in_flight[key] = now\n            self._holdings.drop(holding)\n",
        ),
    ),
    "clone": (Edit(f"{_AGENT}/spool.py", '        if meta.get("place") == place:\n', "        if meta:\n"),),
    # --- at_most_once
    "amo_commit_first": (
        Edit(
            _SUBMITTING,
            "    return options.at_most_once or options.session is not None or is_memo\n",
            "    return options.session is not None or is_memo\n",
        ),
    ),
    "amo_handed": (
        Edit(
            f"{_AGENT}/work.py",
            "            self._once.add(holding, path)\n",
            "            holding.handed = True\n            self._holdings.changed(holding, SOON_S)\n"
            "            self._call(holding, path)\n",
        ),
    ),
    "amo_spool_id": (
        Edit(
            _OUTCOMES,
            "and options.at_most_once and leased_spool != spool:",
            "and options.at_most_once and not leased_spool:",
        ),
    ),
    "amo_vanished": (
        Edit(
            _SESSIONS,
            "            if job.is_running or job.call.options.at_most_once:\n",
            "            if job.is_running:\n",
        ),
    ),
    "amo_restart": (
        Edit(
            f"{_AGENT}/work.py",
            '            self._fail(holding, ErrorInfo("LOST_UNKNOWN", _HANDED))\n',
            "            holding.handed = False\n            self._waiting[holding.task_id] = holding\n",
        ),
    ),
    # --- serving sessions
    "sid_unique": (
        Edit(
            _SIDE,
            "        sid = secrets.token_hex(8)\n",
            "        sid = str(self.admitted)\n        self.admitted += 1\n",
        ),
        Edit(_SIDE, "        peer = Peer(sid, secrets.token_hex(16),", '        peer = Peer(sid, "token",'),
        Edit(_SIDE, '    """Listens for sessions', '    admitted = 0\n    """Listens for sessions'),
    ),
    "session_fence": (
        Edit(
            _SESSIONS,
            "        session = self._sessions.pop(sid, None)\n",
            "        session = self._sessions.get(sid)\n",
        ),
        Edit(
            _SESSIONS,
            "        for job in reversed(session.jobs.values()):\n",
            "        if session.is_closing == 2:\n            return\n        session.is_closing = 2\n"
            "        for job in reversed(session.jobs.values()):\n",
        ),
        Edit(_SIDE, "        peer = self.peers.pop(sid, None)\n", "        peer = None\n"),
        Edit(
            _SESSIONS,
            "        del self._jobs[job.call.task_id]\n",
            "        self._jobs.pop(job.call.task_id, None)\n",
        ),
    ),
    "resume": (
        Edit(_SIDE, "for kept in peer.channel.repeat(now, reconnected=True):", "for kept in ():"),
        Edit(_SIDE, "for frame in peer.channel.repeat(now):", "for frame in ():"),
        Edit(_SIDE, "for frame in peer.channel.repeat(now) if up.number == 0 else ():", "for frame in ():"),
    ),
    "session_keep": (
        Edit(_WIRE, "        for frame in self._channel.repeat(now):\n", "        for frame in ():\n"),
    ),
    "seq_dedupe": (
        Edit(
            f"{_AGENT}/worker/channel.py",
            "        if number != self.have + 1:\n            return False\n        self.have = number\n",
            "        if number > self.have + 1:\n            return False\n"
            "        self.have = max(self.have, number)\n",
        ),
    ),
    "count_running": (
        Edit(
            _SESSIONS,
            "            if job.is_running or job.call.options.at_most_once:\n",
            "            if job.call is not None:\n",
        ),
    ),
    "suspect": (
        Edit(
            _SESSIONS, "                job.is_suspect = True\n", "                job.is_suspect = False\n"
        ),
    ),
    "loss_once": (
        Edit(
            _OUTCOMES,
            "    ).rowcount:\n        return False\n",
            "    ):\n        return False\n",
        ),
    ),
    # --- events
    "events_ride": (
        Edit(
            f"{_AGENT}/outbox.py",
            "            ride: EventBatch | None = log.batch(holding.task_id, log.first)\n",
            "            ride: EventBatch | None = None\n",
        ),
    ),
    "event_exec": (
        Edit(
            f"{_HUB}/store/events.py",
            "    winner = task.execution if task.state.is_final else None\n",
            "    winner = None\n",
        ),
    ),
}

#: Rules that others make unnecessary: taken out alone, nothing is lost.
BELTS = {
    "hello_once": "an agent asks with a new nonce each time and takes no WELCOME to an old one",
    "inventory_in_session": (
        "from HELLO to WELCOME nothing leaves an agent's books but losses, which it reports, "
        "and tasks that the service does not know"
    ),
    "dispatch_after_reconcile": "a task that leaves early is rebound to its new lease, or seen as held",
}

#: Rules about situations that cannot arise here.
NOT_APPLICABLE = {
    "resume_unsent": (
        "a call reaches the engine only after its mark is on disk: there is nothing unmarked to send, and "
        "what is repeated after a reconnect are frames that had left already"
    ),
}
