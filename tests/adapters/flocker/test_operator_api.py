"""
What the operator's command asks, over HTTP, of nodes in memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

import pytest
import pytest_twisted
from attrs import evolve, frozen
from powerstrip_flocker.datasets.keeper import Keeper
from powerstrip_flocker.datasets.steps import Step
from powerstrip_flocker.errors import FlockerError, StorageError
from powerstrip_flocker.interfaces import IStorage, IUses
from twisted.internet.defer import Deferred
from zope.interface import implementer

from tests.adapters.flocker.operated import JSON, Operated

TO_N1, TO_N2 = (json.dumps({"to": node}).encode() for node in ("n1", "n2"))


@pytest.fixture
def operated() -> Operated:
    """
    Two nodes, the first of which has data.
    """
    return Operated()


@implementer(IUses)
@frozen
class NoEngine:
    """
    An engine that is down.
    """

    async def containers(self, name: str) -> Sequence[str]:
        raise FlockerError(f"what uses {name} can't be said: the engine is down")

    def expect(self, name: str) -> None:
        raise AssertionError("nothing is expected")


def keeper(operated: Operated, node: str) -> Keeper:
    process = operated.host(node).process
    assert process is not None
    return process.keeper


# What is shown


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_well(operated: Operated) -> None:
    """
    Its status is what there is, and no problem.
    """
    assert await operated.get("n1", "/status") == {
        "node": "n1",
        "storage": {"name": "fake:flocker", "free_bytes": 2**30 - 5},
        "ledger": {"problem": None},
        "engine": {"problem": None},
        "nodes": {"n1": "192.0.2.1:4523", "n2": "192.0.2.2:4523"},
        "datasets": [
            {
                "name": "data",
                "owner": "n1",
                "generation": 1,
                "here": "writable",
                "used_bytes": 5,
                "replicas": {},
                "moving_to": None,
            }
        ],
        "moves": [],
        "problems": [],
    }


@pytest_twisted.ensureDeferred
async def test_each_node_says_what_it_has(operated: Operated) -> None:
    """
    The owner can write it, another one has a replica of it, or nothing.
    """
    operated.host("n1").bring("only")
    operated.move("data", "n2")

    shown = {node: await operated.get(node, "/datasets") for node in ("n1", "n2")}

    here = {
        node: {it["name"]: (it["owner"], it["here"]) for it in answer["datasets"]}
        for node, answer in shown.items()
    }
    assert here == {
        "n1": {"data": ("n2", "replica"), "only": ("n1", "writable")},
        "n2": {"data": ("n2", "writable"), "only": ("n1", "nothing")},
    }
    assert list(shown["n2"]["datasets"][0]["replicas"]) == ["n1"]
    assert shown["n2"]["datasets"][0]["generation"] == 2


@pytest_twisted.ensureDeferred
async def test_a_node_that_was_away_has_a_replica(operated: Operated) -> None:
    """
    What was promoted meanwhile is not mounted when it comes back, and that is said.
    """
    operated.move("data", "n2")
    operated.move("data", "n1")
    operated.host("n1").crash(power=True)
    assert (await operated.ask("n2", "POST", "/datasets/data/promote"))[0] == 200

    operated.cluster.recover()

    (data,) = (await operated.get("n1", "/datasets"))["datasets"]
    assert (data["owner"], data["here"]) == ("n2", "replica")
    assert operated.cluster.writable("data") == ["n2"]
    assert (await operated.get("n1", "/status"))["problems"] == []


@pytest_twisted.ensureDeferred
async def test_a_ledger_that_is_away_is_a_problem(operated: Operated) -> None:
    """
    What is here is shown all the same; a list without owners is refused.
    """
    operated.cluster.cut("n1", "ledger")

    shown = await operated.get("n1", "/status")

    assert shown["ledger"]["problem"] == "the fake ledger can't be reached"
    (data,) = shown["datasets"]
    assert (data["owner"], data["here"], data["used_bytes"]) == (None, "writable", 5)
    for path in ("/datasets", "/datasets/data"):
        refused = await operated.ask("n1", "GET", path)
        assert refused == (503, {"message": "flocker: the fake ledger can't be reached"})


@pytest_twisted.ensureDeferred
async def test_an_engine_that_is_down_is_a_problem(operated: Operated) -> None:
    """
    Nothing can move then.
    """
    keeper(operated, "n1").uses = NoEngine()
    sentence = "what uses data can't be said: the engine is down"

    assert (await operated.get("n1", "/status"))["engine"] == {"problem": sentence}
    shown = await operated.get("n1", "/datasets/data")
    assert (shown["used_by"], shown["problems"]) == (None, [sentence])


@frozen
class Failing:
    """
    A storage of which one method fails.
    """

    storage: object
    method: str

    def __getattr__(self, name: str) -> object:
        return self._fail if name == self.method else getattr(self.storage, name)

    async def _fail(self, name: str = "") -> None:
        raise StorageError("the pool is suspended")


@pytest.mark.parametrize(
    ("method", "sentence"),
    [("space", "data: the pool is suspended"), ("names", "the pool is suspended")],
)
@pytest_twisted.ensureDeferred
async def test_a_storage_that_fails_is_a_problem(
    operated: Operated, method: str, sentence: str
) -> None:
    """
    Its words are told, and what the ledger knows; it does not say that anything is lost.
    """
    keeper(operated, "n1").storage = cast(IStorage, Failing(keeper(operated, "n1").storage, method))

    shown = await operated.get("n1", "/status")

    assert shown["problems"] == [sentence]
    assert [(it["owner"], it["here"]) for it in shown["datasets"]] == [("n1", "unknown")]


@pytest_twisted.ensureDeferred
async def test_a_dataset_that_was_lost_is_a_problem(operated: Operated) -> None:
    """
    Its record says that it has to be here.
    """
    operated.host("n1").storage._datasets.clear()

    shown = await operated.get("n1", "/status")

    assert shown["datasets"][0]["here"] == "missing"
    assert shown["problems"] == ["n1 owns data, but its storage does not have it"]


@pytest_twisted.ensureDeferred
async def test_two_that_can_write_are_a_problem(operated: Operated) -> None:
    """
    A copy that could not be fenced yet, since a process has it open, is named.
    """
    store = operated.cluster.store
    store.put(evolve(store.entries["data"].record, owner="n2"))

    shown = await operated.get("n1", "/status")

    assert shown["problems"] == ["n2 owns data, but it can still be written on n1"]


@pytest_twisted.ensureDeferred
async def test_what_can_not_be_made_writable_is_a_problem(operated: Operated) -> None:
    """
    An owner whose copy stays read-only, though no move is under way, says so.
    """
    operated.host("n1").storage.reboot()

    shown = await operated.get("n1", "/status")

    assert shown["datasets"][0]["here"] == "fenced"
    assert shown["problems"] == ["n1 owns data, but it can't be written there"]


@pytest_twisted.ensureDeferred
async def test_what_no_record_speaks_of_is_shown(operated: Operated) -> None:
    """
    It is nobody's, and can't be moved, promoted or destroyed.
    """
    await operated.host("n1").storage.create("foreign")

    (_, foreign) = (await operated.get("n1", "/datasets"))["datasets"]

    assert (foreign["owner"], foreign["here"]) == (None, "unrecorded")
    for method, path, body in (
        ("POST", "/datasets/foreign/move", TO_N2),
        ("POST", "/datasets/foreign/promote", None),
        ("DELETE", "/datasets/foreign", None),
    ):
        code, answer = await operated.ask("n1", method, path, body)
        assert code == 409
        assert "n1 has a dataset foreign that no record speaks of" in answer["message"]


@pytest_twisted.ensureDeferred
async def test_one_dataset_is_shown_with_its_users(operated: Operated) -> None:
    """
    And with where it is mounted, and what a promotion would go by.
    """
    operated.move("data", "n2")
    operated.host("n2").bring("data")

    owned, replica = [await operated.get(node, "/datasets/data") for node in ("n2", "n1")]

    assert (owned["node"], owned["used_by"]) == ("n2", ["container-of-n2"])
    assert owned["mount_point"] == "/flocker/data"
    assert (replica["used_by"], replica["mount_point"]) == (None, None)
    assert replica["newest"]["name"] == owned["replicas"]["n1"]
    assert owned["identity"] == operated.cluster.store.entries["data"].record.identity


@pytest_twisted.ensureDeferred
async def test_snapshots_are_those_here(operated: Operated) -> None:
    """
    Oldest first; where nothing is here, there are none to show.
    """
    for name in ("one", "two"):
        await operated.host("n1").storage.snapshot("data", name)

    shown = await operated.get("n1", "/datasets/data/snapshots")
    refused = await operated.ask("n2", "GET", "/datasets/data/snapshots")

    assert [it["name"] for it in shown["snapshots"]] == ["one", "two"]
    assert shown["snapshots"][0]["created_seconds"] == 1_700_000_001.0
    assert refused == (409, {"message": "flocker: n2 has nothing of data to show"})


@pytest_twisted.ensureDeferred
async def test_a_move_is_shown_on_both_sides(operated: Operated) -> None:
    """
    The node that fetches it knows how far it is; its owner knows where it goes.
    """
    operated.gates[Step.VERIFY] = Deferred()
    operated.host("n2").bring("data")

    arriving, leaving = [await operated.get(node, "/status") for node in ("n2", "n1")]
    shown = [await operated.get(node, "/moves") for node in ("n2", "n1")]

    sent_bytes = operated.cluster.sent_bytes[0]
    unknown = {"elapsed_seconds": None, "bytes_per_second": None, "remaining_seconds": None}
    ends = {"dataset": "data", "from": "n1", "to": "n2"}
    figures = {"phase": 1, "sent_bytes": sent_bytes, "expected_bytes": sent_bytes}
    rates = {"elapsed_seconds": 0.0, "bytes_per_second": 0.0, "remaining_seconds": None}
    nothing = {"phase": None, "sent_bytes": None, "expected_bytes": None}
    assert shown == [
        {"moves": [{**ends, **figures, **rates}]},
        {"moves": [{**ends, **nothing, **unknown}]},
    ]
    assert [arriving["moves"], leaving["moves"]] == [it["moves"] for it in shown]
    assert arriving["datasets"][0]["here"] == "arriving"
    assert leaving["datasets"][0]["moving_to"] == "n2"
    operated.gates.pop(Step.VERIFY).callback(None)
    assert await operated.get("n2", "/moves") == {"moves": []}


# What is done


@pytest.mark.parametrize("asked", ["n1", "n2"])
@pytest_twisted.ensureDeferred
async def test_a_dataset_is_moved_whichever_node_is_asked(operated: Operated, asked: str) -> None:
    """
    Its owner, or the one where it goes; nothing is expected to use it there.
    """
    moved = await operated.ask(asked, "POST", "/datasets/data/move", TO_N2)

    assert moved == (200, {"name": "data", "owner": "n2"})
    assert operated.cluster.writable("data") == ["n2"]
    assert await operated.ask(asked, "POST", "/datasets/data/move", TO_N1) == (
        200,
        {"name": "data", "owner": "n1"},
    )


@pytest_twisted.ensureDeferred
async def test_a_dataset_that_is_there_already_stays(operated: Operated) -> None:
    """
    That is no error.
    """
    moved = await operated.ask("n1", "POST", "/datasets/data/move", TO_N1)
    assert moved == (200, {"name": "data", "owner": "n1"})
    assert operated.cluster.sent_bytes == []


@pytest_twisted.ensureDeferred
async def test_a_dataset_in_use_is_not_moved(operated: Operated) -> None:
    """
    The container and its node are named.
    """
    operated.host("n1").bring("data")
    refused = await operated.ask("n1", "POST", "/datasets/data/move", TO_N2)
    assert refused == (409, {"message": "flocker: data is used by container-of-n1 on n1"})


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_not_there_is_named(operated: Operated) -> None:
    """
    With those that are.
    """
    refused = await operated.ask("n1", "POST", "/datasets/data/move", b'{"to": "n9"}')
    assert refused == (404, {"message": "flocker: there is no node n9, but n1, n2"})


@pytest_twisted.ensureDeferred
async def test_a_node_that_does_not_answer_gets_nothing(operated: Operated) -> None:
    """
    The dataset stays.
    """
    operated.host("n2").crash()
    code, answer = await operated.ask("n1", "POST", "/datasets/data/move", TO_N2)
    assert (code, answer) == (503, {"message": "flocker: n2 does not answer"})
    assert operated.cluster.writable("data") == ["n1"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/datasets/none"),
        ("GET", "/datasets/none/snapshots"),
        ("POST", "/datasets/none/move"),
        ("POST", "/datasets/none/promote"),
        ("DELETE", "/datasets/none"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_dataset_that_is_not_there_is_not_made(
    operated: Operated, method: str, path: str
) -> None:
    """
    Only a container makes one.
    """
    refused = await operated.ask("n1", method, path, TO_N1)
    assert refused == (404, {"message": "flocker: there is no dataset none"})
    assert list(operated.cluster.store.entries) == ["data"]


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("POST", "/move"), ("DELETE", "")])
@pytest_twisted.ensureDeferred
async def test_a_name_that_none_can_have_reaches_no_storage(
    operated: Operated, method: str, path: str
) -> None:
    """
    It could lead out of where datasets are.
    """
    code, answer = await operated.ask("n1", method, f"/datasets/a..b{path}", TO_N1)
    assert code == 400
    assert answer["message"].startswith("flocker: 'a..b' can't be the name of a dataset")


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/datasets/data/move"),
        ("POST", "/datasets/data/promote"),
        ("DELETE", "/datasets/data"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_browser_can_not_be_made_to_change_anything(
    operated: Operated, method: str, path: str, content_type: str | None
) -> None:
    """
    What another site's form can send is refused.
    """
    code, _ = await operated.ask("n1", method, path, TO_N2, content_type)
    assert code == 415
    assert operated.cluster.writable("data") == ["n1"]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"to": 7}', b'["n2"]', b"n2"])
@pytest_twisted.ensureDeferred
async def test_a_move_says_where_to(operated: Operated, body: bytes) -> None:
    """
    Else it is refused, with an example.
    """
    code, answer = await operated.ask("n1", "POST", "/datasets/data/move", body, JSON)
    assert code == 400
    assert answer["message"].endswith('{"to": "node2"}')


@pytest_twisted.ensureDeferred
async def test_promote_says_what_it_went_by(operated: Operated) -> None:
    """
    The newest replica here, and its time.
    """
    operated.move("data", "n2")
    operated.move("data", "n1")
    operated.cluster.write("n1", "data", b"never sent")
    operated.host("n1").crash(power=True)
    before = (await operated.get("n2", "/datasets/data"))["newest"]

    code, answer = await operated.ask("n2", "POST", "/datasets/data/promote")

    assert (code, answer) == (200, {"name": "data", "owner": "n2", "snapshot": before})
    assert operated.host("n2").content("data") == b"hello"


@pytest_twisted.ensureDeferred
async def test_a_living_owner_keeps_its_dataset(operated: Operated) -> None:
    """
    The operator is told to have it moved.
    """
    operated.move("data", "n2")
    refused = await operated.ask("n1", "POST", "/datasets/data/promote")
    assert refused == (409, {"message": "flocker: n2 answers: have data moved instead"})


@pytest_twisted.ensureDeferred
async def test_destroy_leaves_nothing(operated: Operated) -> None:
    """
    Neither here nor where there was a replica.
    """
    operated.move("data", "n2")
    assert await operated.ask("n2", "DELETE", "/datasets/data") == (200, {"name": "data"})
    for node in ("n1", "n2"):
        assert await operated.get(node, "/datasets") == {"datasets": []}


@pytest_twisted.ensureDeferred
async def test_another_nodes_dataset_is_not_destroyed(operated: Operated) -> None:
    """
    Its owner is named, which has to be asked.
    """
    refused = await operated.ask("n2", "DELETE", "/datasets/data")
    assert refused == (409, {"message": "flocker: data belongs to n1: destroy it there"})


def left_behind(operated: Operated) -> None:
    """
    Have data destroyed on n1 while n2, which has a replica of it, is away.
    """
    operated.move("data", "n2")
    operated.move("data", "n1")
    operated.host("n2").crash(power=True)
    process = operated.host("n1").process
    assert process is not None
    process.run(process.mover.destroy("data"))
    assert operated.cluster.store.entries == {}
    operated.cluster.recover()


@pytest_twisted.ensureDeferred
async def test_what_a_destroyed_dataset_has_left_can_be_removed(operated: Operated) -> None:
    """
    So that its name can be used there again.
    """
    left_behind(operated)
    (data,) = (await operated.get("n2", "/datasets"))["datasets"]
    assert (data["owner"], data["here"]) == (None, "unrecorded")
    assert await operated.ask("n2", "DELETE", "/datasets/data") == (200, {"name": "data"})
    assert await operated.get("n2", "/datasets") == {"datasets": []}


@pytest_twisted.ensureDeferred
async def test_what_can_be_written_is_not_removed_without_a_record(operated: Operated) -> None:
    """
    The ledger may be a new one, and this the only copy.
    """
    left_behind(operated)
    await operated.host("n2").storage.set_writable("data")
    code, _ = await operated.ask("n2", "DELETE", "/datasets/data")
    assert code == 409
    assert operated.host("n2").content("data") == b"hello"
