"""What is kept beside runs: entries by name, and notes of who did what."""

from __future__ import annotations

from ..runs.base import RunStore
from ..runs.registry import ASIDE_KEPT, NOTES_OF_ALL, Note
from .case import RunStoreCase, created, deleted


class Keeping(RunStoreCase):
    """`keep`, `kept`, `note` and `notes`."""

    def test_entries_are_kept_by_kind_and_name(self, store: RunStore) -> None:
        store.keep("queue", "heavy", "one")
        store.keep("queue", "heavy", "two")
        store.keep("worker", "heavy", "three")
        assert store.kept("queue") == {"heavy": "two"}
        assert store.kept_one("worker", "heavy") == "three"
        store.keep("queue", "heavy", None)
        store.keep("queue", "heavy", None)
        assert store.kept("queue") == {}
        assert store.kept_one("queue", "heavy") is None

    def test_the_first_entry_stands(self, store: RunStore) -> None:
        assert store.keep_first("secret", "session", "one") == "one"
        assert store.keep_first("secret", "session", "two") == "one"

    def test_time_is_the_stores_and_goes_on(self, store: RunStore) -> None:
        first = store.now()
        created_at = created(store).created_at // 1000
        assert first <= created_at <= store.now()

    def test_the_last_look_is_known(self, store: RunStore) -> None:
        assert store.last_look() is None
        before = store.now()
        store.look()
        looked = store.last_look()
        assert looked is not None
        assert before <= looked <= store.now()

    def test_notes_are_told_newest_first(self, store: RunStore) -> None:
        run = created(store).run_id
        store.note(Note(run, "ann", "pause"), Note(run, "bob", "resume", "by hand"))
        store.note(Note("", "cron", "retry"))
        notes = store.notes(run)
        assert [(n.by, n.command, n.detail) for n in notes] == [
            ("bob", "resume", "by hand"),
            ("ann", "pause", ""),
        ]
        assert all(note.at > 0 for note in notes)
        assert [note.by for note in store.notes(limit=2)] == ["cron", "bob"]

    def test_the_notes_of_a_run_go_with_it(self, store: RunStore) -> None:
        head = created(store)
        store.note(Note(head.run_id, "ann", "pause"), Note(head.run_id, "ann", "delete"))
        store.pause(head.run_id)
        deleted(store, head.run_id)
        assert store.notes(head.run_id) == []
        assert [note.command for note in store.notes()] == ["delete", "pause"], "that it was, stays"
        self.eventually(lambda: store.now() > store.notes()[0].at)
        created(store, head)
        assert store.notes(head.run_id) == []
        store.note(Note(head.run_id, "bob", "pause"))
        assert [note.by for note in store.notes(head.run_id)] == ["bob"]

    def test_a_run_keeps_its_last_hundred_notes(self, store: RunStore) -> None:
        run = created(store).run_id
        store.note(*(Note(run, "ann", "edit", str(number)) for number in range(120)))
        notes = store.notes(run, limit=500)
        assert [notes[0].detail, len(notes) >= 100] == ["119", True]

    def test_of_all_notes_the_last_are_kept(self, store: RunStore) -> None:
        store.note(*(Note("", "ann", "edit", str(number)) for number in range(NOTES_OF_ALL)))
        store.note(*(Note("", "bob", "edit", str(number)) for number in range(3)))
        notes = store.notes(limit=2 * NOTES_OF_ALL)
        assert len(notes) == NOTES_OF_ALL
        assert (notes[0].by, notes[-1].by, notes[-1].detail) == ("bob", "ann", "3")

    def test_of_what_is_put_aside_the_last_are_kept(self, store: RunStore) -> None:
        for number in range(ASIDE_KEPT + 3):
            store.put_aside("no stage", str(number))
        entries = store.aside(2 * ASIDE_KEPT)
        assert len(entries) == ASIDE_KEPT
        assert entries[-1]["message"] == "3"

    def test_notes_on_an_earlier_life_are_not_told(self, store: RunStore) -> None:
        head = created(store)
        store.note(Note(head.run_id, "ann", "pause"))
        assert [note.by for note in store.notes_on(head)] == ["ann"]
        store.pause(head.run_id)
        over = store.now() + 2
        self.eventually(lambda: store.now() > over)
        deleted(store, head.run_id)
        again = created(store, head)
        assert store.notes_on(again) == []
