"""A browser may hold the token in a cookie, and no page of another origin can make it act."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from api_gateway.session_routes import REFRESH_COOKIE
from shared.http.auth import AuthMode
from shared.http.client import ServiceAnswer
from shared.http.guard import COOKIE
from tests.harness.http_gateway import Gateway, gateway, problem_of
from tests.harness.tokens import ALICE, BOB, OPERATOR, a_guard, bearer, forged, token

ORDER = '{"id": "a", "sku": "cable", "qty": 1}'


@pytest.fixture(params=AuthMode)
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Gateway]:
    """A gateway, in both modes."""
    async with gateway(guard=a_guard(request.param)) as running:
        yield running


def cookie(text: str) -> dict[str, str]:
    """The header that carries it."""
    return {"Cookie": f"other=1; {COOKIE}={text}"}


def own(served: Gateway) -> dict[str, str]:
    """What a browser says of a page of the gateway itself."""
    return {"Origin": f"http://127.0.0.1:{served.port}"}


async def test_a_cookie_says_who_asks(served: Gateway) -> None:
    """As a header does, which goes before it."""
    placed = await served.post(ORDER, **cookie(token(ALICE)), **own(served))
    assert placed.status == 202
    assert served.intake.placements[0].customer == "alice"
    assert (await served.send("GET", "/orders/a", **cookie(token(ALICE)))).status == 200
    assert (await served.send("GET", "/orders/a", **cookie(token(BOB)))).status == 404
    assert (await served.send("GET", "/orders/a", **cookie(token(BOB)), **bearer(ALICE))).status == 200


@pytest.mark.parametrize("origin", [None, "https://evil.example.com", "null", "http://127.0.0.1", ""])
async def test_a_page_of_another_origin_changes_nothing(served: Gateway, origin: str | None) -> None:
    """The browser sends the cookie along, and says where the page is from."""
    headers = {} if origin is None else {"Origin": origin}
    answer = await served.post(ORDER, **cookie(token(ALICE)), **headers)
    assert answer.status == 403
    await problem_of(answer)
    for method, body in (("PUT", '{"available": 5}'), ("PATCH", '{"delta": 5}'), ("DELETE", "")):
        answer = await served.send(method, "/inventory/cable", body, **cookie(token(OPERATOR)), **headers)
        assert answer.status == 403
    assert served.intake.placements == []


async def test_who_sends_a_token_by_hand_needs_no_origin(served: Gateway) -> None:
    """No browser does that by itself."""
    headers = {"Origin": "https://shop.example.com", **bearer(ALICE)}
    assert (await served.post(ORDER, **headers)).status == 202


@pytest.mark.parametrize("kind", forged())
async def test_a_cookie_that_does_not_hold_makes_nobody_an_operator(served: Gateway, kind: str) -> None:
    """401, also where one without any token would count as one; pages that all may see are shown."""
    text = forged()[kind].replace(" ", "%20")
    assert (await served.send("GET", "/orders", **cookie(text))).status == 401
    assert (await served.send("GET", "/docs", **cookie(text))).status == 200


async def test_other_cookies_are_nothing_to_the_gateway(served: Gateway) -> None:
    """Other programs of this machine set them for every port."""
    answers = await asyncio.gather(
        served.send("GET", "/orders", Cookie="session=1; access_token=x"), served.send("GET", "/orders")
    )
    assert answers[0].status == answers[1].status


# --- signing in ---------------------------------------------------------------------------------------------

TOKENS = b'{"access_token": "new", "token_type": "bearer", "expires_in": 900, "refresh_token": "next"}'


def given(served: Gateway, path: str, body: bytes = TOKENS, status: int = 200) -> None:
    """What accounts answers."""
    answer = ServiceAnswer(status=status, headers={"Content-Type": "application/json"}, body=body)
    served.accounts.answers["POST", path] = answer


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_signing_in_puts_the_tokens_where_no_script_reads_them(served: Gateway, prefix: str) -> None:
    """Nor any other site's request carries them; the one that renews goes to its own path alone."""
    given(served, "/tokens")
    body = '{"username": "alice", "password": "a long walk at noon"}'
    answer = await served.send("POST", f"{prefix}/session", body, **own(served))
    assert answer.status == 200
    assert await answer.json() == {"expires_in": 900}
    for name, value, path in ((COOKIE, "new", "/"), (REFRESH_COOKIE, "next", f"{prefix}/session")):
        cookie_ = answer.cookies[name]
        assert (cookie_.value, cookie_["path"]) == (value, path)
        assert (cookie_["httponly"], cookie_["samesite"], cookie_["secure"]) == (True, "Strict", "")
    ((method, path, _, sent),) = served.accounts.asked
    assert (method, path, sent) == ("POST", "/tokens", body.encode())


@pytest.mark.parametrize(
    ("proxies", "proto", "is_secure"),
    [
        (("127.0.0.1",), "https", True),
        (("127.0.0.1",), "http, https", True),
        (("127.0.0.1",), "https, http", False),
        ((), "https", False),
    ],
    ids=["by https", "by https at last", "by http at last", "by nobody's word"],
)
async def test_what_a_trusted_proxy_says_of_https_counts(
    proxies: Sequence[str], proto: str, is_secure: bool
) -> None:
    """For the cookie, which then never goes by http; and a page by http is of another origin then."""
    async with gateway(trusted_proxies=proxies) as served:
        given(served, "/tokens")
        body, forwarded = '{"username": "alice", "password": "a long walk"}', {"X_Forwarded_Proto": proto}
        https = {"Origin": f"https://127.0.0.1:{served.port}"}
        answer = await served.send("POST", "/session", body, **forwarded, **https)
        assert bool(answer.cookies[COOKIE]["secure"]) is is_secure
        by_http = await served.send("POST", "/session", body, **forwarded, **own(served))
        assert by_http.status == (403 if is_secure else 200)


async def test_a_wrong_password_is_told_as_accounts_tells_it(served: Gateway) -> None:
    """Without a cookie."""
    given(served, "/tokens", b'{"title": "Unauthorized"}', 401)
    body = '{"username": "alice", "password": "wrong"}'
    answer = await served.send("POST", "/session", body, **own(served))
    assert (answer.status, await answer.json()) == (401, {"title": "Unauthorized"})
    assert not answer.cookies


async def test_a_session_is_renewed_by_its_cookie(served: Gateway) -> None:
    """And by nothing else."""
    given(served, "/tokens/refresh")
    assert (await served.send("POST", "/session/refresh", **own(served))).status == 401
    kept = {"Cookie": f"{REFRESH_COOKIE}=last"}
    answer = await served.send("POST", "/session/refresh", **kept, **own(served))
    assert answer.cookies[REFRESH_COOKIE].value == "next"
    assert served.accounts.asked[-1][3] == b'{"refresh_token":"last"}'


async def test_signing_out_takes_the_cookies_away(served: Gateway) -> None:
    """And tells accounts, on behalf of who did it."""
    held = token(ALICE)
    answer = await served.send("DELETE", "/session", **cookie(held), **own(served))
    assert answer.status == 204
    assert {name: each["max-age"] for name, each in answer.cookies.items()} == {
        COOKIE: "0",
        REFRESH_COOKIE: "0",
    }
    ((method, path, headers, _),) = served.accounts.asked
    assert (method, path, headers["Authorization"]) == ("DELETE", "/tokens", f"Bearer {held}")


async def test_who_signs_out_after_a_while_ends_the_session_too(served: Gateway) -> None:
    """The cookie of the access token is gone by then; what renews it would hold for weeks."""
    given(served, "/tokens/refresh")
    kept = {"Cookie": f"{REFRESH_COOKIE}=last"}
    assert (await served.send("DELETE", "/session", **kept, **own(served))).status == 204
    method, path, headers, _ = served.accounts.asked[-1]
    assert (method, path, headers["Authorization"]) == ("DELETE", "/tokens", "Bearer new")


@pytest.mark.parametrize("status", [401, 422])
async def test_a_session_that_is_over_is_signed_out_of(served: Gateway, status: int) -> None:
    """The cookies go all the same."""
    given(served, "/tokens/refresh", b"{}", status)
    kept = {"Cookie": f"{REFRESH_COOKIE}=last"}
    answer = await served.send("DELETE", "/session", **kept, **own(served))
    assert (answer.status, answer.cookies[REFRESH_COOKIE]["max-age"]) == (204, "0")
    assert [asked[1] for asked in served.accounts.asked] == ["/tokens/refresh"]


@pytest.mark.parametrize(
    "held",
    [b"\xff\xfe", b"", b"x" * 600, b'"\\001"', "ü".encode()],
    ids=["bytes", "none", "long", "sign", "word"],
)
async def test_a_cookie_that_can_be_no_token_is_none(served: Gateway, held: bytes) -> None:
    """Accounts is not even asked."""
    head = f"HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nOrigin: http://127.0.0.1:{served.port}\r\n"
    cookies = f"Connection: close\r\nCookie: {REFRESH_COOKIE}="
    for request, status in (("POST /session/refresh", b" 401 "), ("DELETE /session", b" 204 ")):
        answer = await served.raw(f"{request} {head}{cookies}".encode() + held + b"\r\n\r\n")
        assert status in answer.partition(b"\r\n")[0]
    assert served.accounts.asked == []


async def test_nobody_is_told_to_be_signed_out_who_is_not(served: Gateway) -> None:
    """The database of accounts may be away: the cookies stay, to try again with."""
    away = ServiceAnswer(status=503, headers={"Content-Type": "application/json"}, body=b"{}")
    served.accounts.answers["DELETE", "/tokens"] = away
    answer = await served.send("DELETE", "/session", **cookie(token(ALICE)), **own(served))
    assert (answer.status, dict(answer.cookies)) == (503, {})


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("POST", "/refresh"), ("DELETE", "")])
async def test_no_other_page_signs_anybody_in_or_out(served: Gateway, method: str, path: str) -> None:
    """It would act as somebody else from then on."""
    kept = {"Cookie": f"{REFRESH_COOKIE}=last"}
    answer = await served.send(method, f"/session{path}", "{}", Origin="https://evil.example.com", **kept)
    assert answer.status == 403
    assert served.accounts.asked == []


async def test_off_loopback_cookies_go_over_tls_alone() -> None:
    """Which is a proxy's there."""
    async with gateway(allowed_hosts=("shop.example.com",)) as served:
        given(served, "/tokens")
        page = {"Host": "shop.example.com", "Origin": "https://shop.example.com"}
        answer = await served.send("POST", "/session", "{}", **page)
        assert answer.cookies[COOKIE]["secure"]
