"""The jobs page's figures: what waits, runs, failed and why, and who may start it again."""

import pytest
from sqlalchemy import Connection, text

from lib import audit, jobs, mail_server, mails
from lib.auth import User
from lib.errors import Conflict, NotAllowed
from lib.jobs import Filters

VALUES = {"name": "", "customer": "Ada GmbH", "valid_from": "01.10.2026", "prices": "x"}


def queue(conn: Connection, state: str = "queued", *, waited: int = 0, leased: bool = False) -> int:
    mail_id = mails.queue(conn, "price_notice", recipient="ada@kunde.example", language="de", values=VALUES)
    conn.execute(
        text("""UPDATE mails SET state = :state, due_at = now() - make_interval(mins => :waited),
                       sent_at = CASE WHEN :state = 'sent' THEN now() END,
                       last_error = CASE WHEN :state = 'failed' THEN 'no such user' ELSE '' END,
                       leased_until = CASE WHEN :leased THEN now() + interval '1 minute' END
                 WHERE id = :id"""),
        {"id": mail_id, "state": state, "waited": waited, "leased": leased},
    )
    return mail_id


def with_server(conn: Connection, admin: User) -> None:
    changes = {"host": "127.0.0.1", "security": "none", "sender_address": "post@muster.example"}
    mail_server.edit(conn, version=1, changes=changes, user=admin)


def test_nothing_waits_at_first(conn: Connection) -> None:
    assert jobs.page(conn, Filters()) == [] and jobs.total(conn, Filters()) == 0
    assert jobs.counts(conn) == {"waiting": 0, "running": 0, "failed": 0}


def test_each_state_is_counted_and_failed_ones_come_first(conn: Connection) -> None:
    failed = queue(conn, "failed")
    waiting, running, done = queue(conn), queue(conn, leased=True), queue(conn, "sent")
    assert jobs.counts(conn) == {"waiting": 1, "running": 1, "failed": 1}
    listed = jobs.page(conn, Filters())
    assert [(job.id, job.state) for job in listed] == [(failed, "failed"), (running, "running"), (waiting, "waiting")]
    assert listed[0].subject == "Neue Preise ab 01.10.2026 → ada@kunde.example"
    assert listed[0].last_error == "no such user"
    assert [job.id for job in jobs.page(conn, Filters(states=("done",)))] == [done]
    assert jobs.total(conn, Filters(states=())) == 4
    assert jobs.total(conn, Filters(kinds=("erasure",))) == 0
    assert jobs.total(conn, Filters(kinds=("\x00",), states=("\x00",))) == 0
    assert [job.id for job in jobs.page(conn, Filters(), limit=1, offset=2)] == [waiting]


def test_a_job_that_waits_too_long_says_that_no_worker_runs(conn: Connection, admin: User) -> None:
    queue(conn, waited=40)
    assert jobs.late_minutes(conn) == 0, "without a mail server mails wait without blame"
    with_server(conn, admin)
    assert jobs.late_minutes(conn) == 40
    other = queue(conn, leased=True)
    assert jobs.late_minutes(conn) == 0, "one is being done at this moment: the queue is long, that is all"
    conn.execute(text("DELETE FROM mails WHERE id = :id"), {"id": other})
    queue(conn, "sent")
    assert jobs.late_minutes(conn) == 0, "one was done a moment ago"
    conn.execute(text("UPDATE mails SET sent_at = now() - interval '1 hour' WHERE state = 'sent'"))
    assert jobs.late_minutes(conn) == 40
    conn.execute(text("UPDATE mails SET due_at = now() - interval '1 minute'"))
    assert jobs.late_minutes(conn) == 0


def test_a_failed_job_is_started_again(conn: Connection, admin: User) -> None:
    with_server(conn, admin)
    failed = queue(conn, "failed")
    jobs.retry(conn, "mail", failed, user=admin)
    assert jobs.counts(conn) == {"waiting": 1, "running": 0, "failed": 0}
    entry = audit.entries(conn, object_type="mail")[0][0]
    assert (entry.action, entry.object_id) == ("send again", str(failed))


def test_all_failed_jobs_of_a_kind_are_started_again(conn: Connection, admin: User) -> None:
    with_server(conn, admin)
    for state in ("failed", "failed", "sent"):
        queue(conn, state)
    assert jobs.retry_failed(conn, "mail", user=admin) == 2
    assert jobs.counts(conn)["failed"] == 0 and jobs.counts(conn)["waiting"] == 2
    assert jobs.retry_failed(conn, "mail", user=admin) == 0


@pytest.mark.parametrize(("state", "leased", "words"), [("sent", False, "is done"), ("queued", True, "is running")])
def test_what_is_done_or_running_is_not_started_again(
    conn: Connection, admin: User, state: str, leased: bool, words: str
) -> None:
    with_server(conn, admin)
    with pytest.raises(Conflict, match=words):
        jobs.retry(conn, "mail", queue(conn, state, leased=leased), user=admin)
    for kind in ("mail", "erasure", "nonsense"):
        with pytest.raises(Conflict, match="does not exist any more"):
            jobs.retry(conn, kind, 10**9, user=admin)


def test_only_an_admin_starts_jobs_again(conn: Connection, finance: User) -> None:
    with pytest.raises(NotAllowed):
        jobs.retry(conn, "mail", queue(conn, "failed"), user=finance)
    with pytest.raises(NotAllowed):
        jobs.retry_failed(conn, "mail", user=finance)
