"""Paging of lists: bare JSON arrays with `X-Total-Count` and RFC 8288 `Link` headers."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Response
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from nagaya.errors import InvalidInput

MAX_PAGE = 1000
DEFAULT_PAGE = 100
MAX_OFFSET = 10_000_000

T = TypeVar("T")


@dataclass
class Page:
    """One page of a list.

    Args:
        offset: Rows to skip.
        limit: Most rows to return, up to 1,000.
        request: The request, whose address the links repeat.
        response: The answer, which gets the headers.
    """

    offset: int
    limit: int
    request: Request
    response: Response

    def fetch(self, session: Session, statement: Select[T]) -> list[T]:
        """Runs a SELECT of one entity for this page and sets the headers.

        Args:
            session: The session.
            statement: With filters and a total ORDER BY, without LIMIT.
        """
        total = session.scalar(select(func.count()).select_from(statement.order_by(None).subquery())) or 0
        rows = list(session.scalars(statement.offset(self.offset).limit(self.limit)))
        self.announce(total)
        return rows

    def announce(self, total: int) -> None:
        """Sets `X-Total-Count` and `Link`.

        Args:
            total: Rows of the whole list under the same filters.
        """
        self.response.headers["X-Total-Count"] = str(total)
        links = {}
        if self.offset + self.limit < total:
            links["next"] = self.offset + self.limit
        if self.offset > 0:
            links["prev"] = max(0, self.offset - self.limit)
            links["first"] = 0
        if links:
            self.response.headers["Link"] = ", ".join(f'<{self._url(at)}>; rel="{rel}"' for rel, at in links.items())

    def _url(self, offset: int) -> str:
        query: dict[str, Any] = {"offset": offset, "limit": self.limit}
        url = self.request.url.remove_query_params(["page", "size"]).include_query_params(**query)
        return f"{url.path}?{url.query}"


def page_parameters(
    request: Request,
    response: Response,
    *,
    offset: Annotated[int | None, Query(ge=0, description="Rows to skip.")] = None,
    limit: Annotated[int | None, Query(ge=1, le=MAX_PAGE, description="Most rows to return.")] = None,
    page: Annotated[int | None, Query(ge=1, description="Number of the page, from 1; instead of `offset`.")] = None,
    size: Annotated[int | None, Query(ge=1, le=MAX_PAGE, description="Another name of `limit`.")] = None,
) -> Page:
    """Returns the page that the query asks for.

    Raises:
        InvalidInput: Both ways of paging are mixed, or the page lies beyond any list.
    """
    if (page is not None and offset is not None) or (size is not None and limit is not None):
        raise InvalidInput("Use either offset and limit, or page and size.")
    rows = limit or size or DEFAULT_PAGE
    start = offset if offset is not None else ((page or 1) - 1) * rows
    if start > MAX_OFFSET:
        name = "page" if page is not None else "offset"
        raise InvalidInput(
            f"Lists end before row {MAX_OFFSET:,}: narrow the list with filters instead.",
            fields={name: f"must not reach beyond row {MAX_OFFSET:,}"},
        )
    return Page(start, rows, request, response)


Paging = Annotated[Page, Depends(page_parameters)]
Search = Annotated[
    str | None,
    Query(min_length=1, max_length=200, pattern=r"^[^\x00]*$", description="Only rows that contain this text."),
]
