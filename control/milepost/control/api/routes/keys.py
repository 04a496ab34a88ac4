"""Keys of the API."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from milepost.tasks.runs.registry import Note

from ..arguments import Admin, PathName
from ..bodies import NewKey
from ..documents import KeyDocument, KeyList, NewKeyDocument
from ..problems import NOT_FOUND, Problem
from ..responses import answer
from ..route import ApiRoute
from ..site import Here

router = APIRouter(route_class=ApiRoute, tags=["keys"])


@router.get("/v1/keys", operation_id="listKeys", response_model=KeyList)
async def list_keys(identity: Admin, site: Here) -> Response:
    """List all keys, oldest first, without their secrets."""
    keys = await site.call(site.keys.all)
    return answer(KeyList(items=tuple(KeyDocument.of(key) for key in keys)))


@router.post("/v1/keys", operation_id="createKey", response_model=NewKeyDocument, status_code=201)
async def create_key(new: NewKey, identity: Admin, site: Here) -> Response:
    """Make a key. Its text is in this answer and nowhere else."""

    def make() -> NewKeyDocument:
        text, key = site.keys.create(
            new.name, new.scope, tenant=new.tenant or "", seconds=new.expires_seconds
        )
        detail = f"{key.id} {key.name} {key.scope} {key.tenant}".strip()
        site.app.runs.note(Note("", identity.name, "create key", detail))
        return NewKeyDocument(**dict(KeyDocument.of(key)), key=text)

    return answer(await site.call(make), 201)


@router.delete("/v1/keys/{key_id}", operation_id="revokeKey", status_code=204)
async def revoke_key(key_id: PathName, identity: Admin, site: Here) -> Response:
    """Let a key be good no more: here at once, in other processes of the API within a second."""

    def revoke() -> None:
        if key_id not in {key.id for key in site.keys.all()}:
            raise Problem(NOT_FOUND, f"There is no key {key_id}.")
        site.keys.revoke(key_id)
        site.app.runs.note(Note("", identity.name, "revoke key", key_id))

    await site.call(revoke)
    site.identities.forget()
    return Response(status_code=204)
