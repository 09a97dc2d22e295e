"""The named dependency that resolves an operation which the caller may know of."""

import uuid
from typing import Annotated

from fastapi import Depends

from nagaya.access.reach import tenants_of
from nagaya.errors import NotFound
from nagaya.http.state import State
from nagaya.http.transactions import Db
from nagaya.identity.policy import CurrentPrincipal
from nagaya.operations import repository
from nagaya.operations.models import Operation


def readable_operation(operation_id: uuid.UUID, principal: CurrentPrincipal, db: Db, state: State) -> Operation:
    """Returns the operation of `{operation_id}`.

    Raises:
        NotFound: There is none, or its tenant is none of the caller's business.
    """
    operation = repository.find(db, tenants_of(principal, state.now()), operation_id)
    if operation is None:
        raise NotFound("There is no such operation, or you have no access to its tenant.")
    return operation


ReadableOperation = Annotated[Operation, Depends(readable_operation)]
