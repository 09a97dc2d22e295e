"""ZenML's feature gate, answered from the policy; usage goes to the outbox."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from zenml.exceptions import SubscriptionUpgradeRequiredError
from zenml.zen_server.feature_gate.feature_gate_interface import FeatureGateInterface

from nagaya_tenant.context import tenant

if TYPE_CHECKING:
    from uuid import UUID


class NagayaFeatureGate(FeatureGateInterface):  # type: ignore[misc]  # zenml is not installed where types are checked
    """Set as `feature_gate_implementation_source`; ZenML makes the one instance itself, without arguments."""

    def check_entitlement(self, feature: str) -> None:
        """Allows a feature unless the policy has a limit of zero for it.

        Args:
            feature: `project`, `pipeline`, `pipeline_run`, `model`, `template_run`, `schedule`, …

        Raises:
            SubscriptionUpgradeRequiredError: The limit is reached; clients get 402.
        """
        limit = tenant().policy.limits.get(str(feature))
        if isinstance(limit, int) and limit <= 0:
            raise SubscriptionUpgradeRequiredError(
                f"The limit of this tenant for {feature} is reached; ask an administrator of the organization."
            )

    def report_event(self, feature: str, resource_id: UUID, is_decrement: bool = False) -> None:
        """Queues that a counted resource was made or deleted.

        Args:
            feature: As for `check_entitlement`.
            resource_id: The resource.
            is_decrement: Whether it was deleted.
        """
        tenant().outbox.append(
            {
                "kind": "usage",
                "time": time.time(),
                "feature": str(feature),
                "resource_id": str(resource_id),
                "total": -1 if is_decrement else 1,
            }
        )
