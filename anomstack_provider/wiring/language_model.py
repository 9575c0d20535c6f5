"""The language model behind an Airflow connection, through the common.ai provider: any model that it knows."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Any

from anomstack_provider.config.spec import BatchSpec

if TYPE_CHECKING:
    from anomstack_provider.llm.question import Question, Reply

# One to answer and one more where the answer had not the form that was asked for.
_TRIES = 2


class NoLanguageModel(ValueError):
    """The model cannot be asked at all: a package, the connection or the model's name is missing or wrong."""


class NoAnswer(RuntimeError):
    """The model was asked and there is no answer in the form that was asked for; the message says why."""


class LanguageModel:
    """
    The model of a batch, to be asked within a ``with`` block; see :class:`~anomstack_provider.llm.question.Model`.

    The provider's own retries (on a refused or busy server) happen within the time of a question.
    """

    def __init__(self, spec: BatchSpec) -> None:
        from anomstack_provider.llm.question import Spent

        self.spent = Spent()
        self._max_tokens = spec.llmalert_answer_max_tokens
        self._hook = _hook(spec)
        self._runner = asyncio.Runner()

    def __enter__(self) -> LanguageModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()

    def ask(self, question: Question, seconds: float) -> Reply:
        """
        Return the model's answer.

        :raises TimeoutError: there was none after ``seconds``, however many tries that were.
        :raises NoAnswer: for any other reason.
        """
        from pydantic_ai import BinaryContent
        from pydantic_ai.usage import RunUsage, UsageLimits

        from anomstack_provider.llm.answer import Answer
        from anomstack_provider.llm.question import Reply

        agent = self._hook.create_agent(output_type=Answer, instructions=question.instructions, retries=_TRIES - 1)
        parts: list[Any] = [question.prompt]
        if question.chart is not None:
            parts.append(BinaryContent(question.chart, media_type="image/png"))
        usage = RunUsage()

        async def answer() -> Any:
            async with asyncio.timeout(seconds):
                return await agent.run(
                    parts,
                    usage=usage,
                    usage_limits=UsageLimits(request_limit=_TRIES),
                    model_settings={"max_tokens": self._max_tokens, "timeout": seconds},
                )

        try:
            result = self._runner.run(answer())
        except TimeoutError as error:
            raise TimeoutError(f"no answer within {seconds:.3g} s") from error
        except Exception as error:  # of pydantic-ai, or of whichever provider's package
            raise NoAnswer(_reason(error)) from error
        finally:
            self.spent.requests += usage.requests
            self.spent.input_tokens += usage.input_tokens
            self.spent.output_tokens += usage.output_tokens
        return Reply(result.output, str(result.response.model_name))


def _hook(spec: BatchSpec) -> Any:
    """Return the hook of the batch's connection with its model resolved, which sends nothing yet."""
    try:
        from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook
    except ImportError as error:
        raise NoLanguageModel(
            f"disable_llmalert is false and a package is missing ({error}); "
            "install the extra llm: pip install 'anomstack-provider[llm]'"
        ) from error
    named = {} if spec.llmalert_model is None else {"model_id": spec.llmalert_model}
    where = f"llmalert_conn_id {spec.llmalert_conn_id!r}"
    try:
        hook = PydanticAIHook.get_hook(spec.llmalert_conn_id, hook_params=named)
        hook.get_conn()
    except Exception as error:  # of Airflow, of the hook, or of whichever provider's package
        raise NoLanguageModel(f"{where}: {_reason(error)}") from error
    return hook


def _reason(error: Exception) -> str:
    """Return an error with what caused it, without secrets: servers repeat the key that they refuse."""
    from airflow.providers.common.compat.sdk import redact

    cause = "" if error.__cause__ is None else f" ({type(error.__cause__).__name__}: {error.__cause__})"
    return str(redact(f"{type(error).__name__}: {error}{cause}"))
