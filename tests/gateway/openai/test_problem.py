import shared.store  # noqa: F401  # its errors count, too
from gateway.openai.problem import TABLE, Problem, Refused, problem_named, problem_of
from shared.errors import Busy, ChatError, QueueFull


def test_every_error_of_ours_has_its_place_in_the_table() -> None:
    ours = {
        code for code, error in ChatError.registry.items() if error.__module__.split(".")[0] in ("gateway", "shared")
    }
    assert ours | {ChatError.code} <= TABLE.keys()
    assert all(400 <= status < 600 for status, _, _ in TABLE.values())


def test_a_full_queue_is_a_rate_limit() -> None:
    problem = problem_of(QueueFull("Full."))
    assert problem.status == 429
    assert problem.body() == {
        "error": {"message": "Full.", "type": "rate_limit_error", "param": None, "code": "queue_full"}
    }
    assert problem.headers() == {"x-should-retry": "true", "retry-after": "1", "retry-after-ms": "1000"}


def test_a_conflict_that_passes_may_be_tried_again() -> None:
    assert (problem_of(Busy()).status, problem_of(Busy()).again) == (409, True)


def test_what_nobody_knows_is_internal_under_its_own_name() -> None:
    assert problem_named("of another version", "A sentence.", False) == Problem(
        500, "A sentence.", "server_error", None, "of another version", False
    )


def test_a_refusal_keeps_its_problem() -> None:
    problem = Problem(404, "Nobody.", param="model", code="model_not_found")
    assert problem_of(Refused(problem)) is problem
