"""The components that come with the package: of each kind, names and where they live.

A new dataset, attack, defense, judge or model is one file and one row here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ComponentKind(StrEnum):
    """The five kinds of component."""

    DATASET = "dataset"
    ATTACK = "attack"
    DEFENSE = "defense"
    MODEL = "model"
    JUDGE = "judge"


BUILTIN: Final[dict[ComponentKind, dict[str, str]]] = {
    ComponentKind.DATASET: {
        "advbench": "opensafemlrm.datasets.behaviors:AdvBench",
        "beavertails-v": "opensafemlrm.datasets.beavertails_v:BeaverTailsV",
        "bsa": "opensafemlrm.datasets.bsa:BeyondSafeAnswer",
        "canary": "opensafemlrm.datasets.canary:Canary",
        "figstep": "opensafemlrm.datasets.figstep:FigStep",
        "hades": "opensafemlrm.datasets.hades:Hades",
        "harmbench": "opensafemlrm.datasets.harmbench:HarmBench",
        "holisafe": "opensafemlrm.datasets.holisafe:HoliSafe",
        "images": "opensafemlrm.datasets.folder:OwnImages",
        "jailbreakbench": "opensafemlrm.datasets.jailbreakbench:JailbreakBench",
        "jailbreakv-28k": "opensafemlrm.datasets.jailbreakv:JailBreakV",
        "mir-safetybench": "opensafemlrm.datasets.mir_safetybench:MIRSafetyBench",
        "mis": "opensafemlrm.datasets.mis:MIS",
        "mm-safetybench": "opensafemlrm.datasets.mm_safetybench:MMSafetyBench",
        "mossbench": "opensafemlrm.datasets.mossbench:MOSSBench",
        "mssbench": "opensafemlrm.datasets.mssbench:MSSBench",
        "msts": "opensafemlrm.datasets.msts:MSTS",
        "siuo": "opensafemlrm.datasets.siuo:SIUO",
        "spa-vl": "opensafemlrm.datasets.spa_vl:SPAVL",
        "strongreject": "opensafemlrm.datasets.behaviors:StrongREJECT",
        "table": "opensafemlrm.datasets.table:OwnTable",
        "vlguard": "opensafemlrm.datasets.vlguard:VLGuard",
        "vlsbench": "opensafemlrm.datasets.vlsbench:VLSBench",
        "xstest": "opensafemlrm.datasets.xstest:XSTest",
    },
    ComponentKind.ATTACK: {
        "cs-dj": "opensafemlrm.attacks.cs_dj:CSDJ",
        "cutmix": "opensafemlrm.attacks.edits:CutMix",
        "direct": "opensafemlrm.attacks.direct:Direct",
        "figstep": "opensafemlrm.attacks.figstep:FigStepAttack",
        "figstep-pro": "opensafemlrm.attacks.figstep_pro:FigStepPro",
        "hades": "opensafemlrm.attacks.hades:HADES",
        "jood": "opensafemlrm.attacks.jood:JOOD",
        "mirror": "opensafemlrm.attacks.edits:Mirror",
        "mixup": "opensafemlrm.attacks.edits:Mixup",
        "mml": "opensafemlrm.attacks.mml:MML",
        "mml-n": "opensafemlrm.attacks.mml:MMLSearch",
        "resize-mix": "opensafemlrm.attacks.edits:ResizeMix",
        "rotate": "opensafemlrm.attacks.edits:Rotate",
        "sd": "opensafemlrm.attacks.mm_safetybench:SD",
        "sd-typo": "opensafemlrm.attacks.mm_safetybench:SDTypo",
        "shipped": "opensafemlrm.attacks.shipped:Shipped",
        "shuffle": "opensafemlrm.attacks.edits:Shuffle",
        "si-attack": "opensafemlrm.attacks.si_attack:SIAttack",
        "si-attack-n": "opensafemlrm.attacks.si_attack:SIAttackSearch",
        "typo": "opensafemlrm.attacks.mm_safetybench:Typo",
    },
    ComponentKind.DEFENSE: {
        "adashield-s": "opensafemlrm.defenses.reminders:AdaShieldS",
        "ecso": "opensafemlrm.defenses.ecso:Ecso",
        "guard-input": "opensafemlrm.defenses.guard:GuardInput",
        "guard-output": "opensafemlrm.defenses.guard:GuardOutput",
        "lessthink": "opensafemlrm.defenses.thinking:LessThink",
        "morethink": "opensafemlrm.defenses.thinking:MoreThink",
        "none": "opensafemlrm.defenses.composed:NoDefense",
        "reflect": "opensafemlrm.defenses.reflect:Reflect",
        "safethink": "opensafemlrm.defenses.safethink:SafeThink",
        "scenario-aware": "opensafemlrm.defenses.reminders:ScenarioAware",
        "self-reminder": "opensafemlrm.defenses.reminders:SelfReminder",
        "zerothink": "opensafemlrm.defenses.thinking:ZeroThink",
    },
    ComponentKind.MODEL: {
        "anthropic": "opensafemlrm.models.hosted.anthropic:Anthropic",
        "google": "opensafemlrm.models.hosted.google:Google",
        "hf": "opensafemlrm.models.local.hf:HuggingFace",
        "inspect": "opensafemlrm.models.hosted.inspect:Inspect",
        "openai": "opensafemlrm.models.hosted.openai_compatible:OpenAICompatible",
        "openai-responses": "opensafemlrm.models.hosted.openai_responses:OpenAIResponses",
        "openrouter": "opensafemlrm.models.hosted.openai_compatible:OpenRouter",
        "organism": "opensafemlrm.models.demo.organism:Organism",
        "sim": "opensafemlrm.models.demo.sim:Simulated",
        "vllm": "opensafemlrm.models.hosted.vllm:VLLM",
        "vllm-offline": "opensafemlrm.models.local.vllm_offline:VLLMOffline",
    },
    ComponentKind.JUDGE: {
        "bsa-think": "opensafemlrm.judges.bsa_think:BSAThink",
        "canary": "opensafemlrm.judges.canary:CanaryJudge",
        "cascade": "opensafemlrm.judges.panel:Cascade",
        "guardtrace": "opensafemlrm.judges.classifier:GuardTrace",
        "harmbench-cls": "opensafemlrm.judges.classifier:HarmBenchClassifier",
        "llama-guard": "opensafemlrm.judges.classifier:LlamaGuard",
        "mm-safetybench": "opensafemlrm.judges.mm_safetybench:MMSafetyBenchJudge",
        "mssbench": "opensafemlrm.judges.mssbench:MSSBenchJudge",
        "msts": "opensafemlrm.judges.msts:MSTS",
        "omnisafebench": "opensafemlrm.judges.omnisafebench:OmniSafeBench",
        "panel": "opensafemlrm.judges.panel:Panel",
        "policy-rubric": "opensafemlrm.judges.policy_rubric:PolicyRubric",
        "refusal": "opensafemlrm.judges.refusal:RefusalJudge",
        "refusal-3way": "opensafemlrm.judges.refusal_3way:Refusal3Way",
        "rules": "opensafemlrm.judges.rules:RulesJudge",
        "siuo": "opensafemlrm.judges.siuo:SIUOJudge",
        "siuo-effectiveness": "opensafemlrm.judges.siuo:SIUOEffectiveness",
        "strongreject": "opensafemlrm.judges.strongreject:StrongReject",
        "vlsbench": "opensafemlrm.judges.vlsbench:VLSBenchJudge",
        "wildguard": "opensafemlrm.judges.classifier:WildGuard",
    },
}

COMPOSED: Final = {
    ComponentKind.ATTACK: "opensafemlrm.attacks.composed:Composed",
    ComponentKind.DEFENSE: "opensafemlrm.defenses.composed:Composed",
}
"""What an attack or a defense whose name has a ``+`` is built as."""
