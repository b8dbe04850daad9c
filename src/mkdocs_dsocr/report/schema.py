"""The report as other tools read it: names, types and units of every field.

Units: TFLOP = 1e12, Tb = 1e12 bit, GB = 1e9 byte, times in milliseconds, one
multiply-add = 2 FLOPs. Paths are relative POSIX paths.
"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from mkdocs_dsocr.inputs import workload as keys
from mkdocs_dsocr.inputs.hardware import Hardware
from mkdocs_dsocr.inputs.model_config import Dimensions, Storage
from mkdocs_dsocr.inputs.serving import Serving as EngineSettings
from mkdocs_dsocr.report.fields import Amount, Count, Integers, Record, Share, Stage

SCHEMA_VERSION: Final = "2.0"
"""1.1 added ``model.dimensions``, 1.2 ``model.architecture``. 2.0 gives every module
its device, host and predicted time. Older files are read, too: see
:mod:`mkdocs_dsocr.report.migration`."""


class StageTimes(Record):
    """Times of a stage over the whole workload."""

    time_ms: Amount = Field(description="the estimate: the longer of device and host time")
    device_time_ms: Amount = Field(description="the sum of its kernels")
    host_time_ms: Amount = Field(description="dispatches and host waits × their cost")
    floor_time_ms: Amount = Field(
        description="causal tensor FLOPs over peak or compulsory bytes over bandwidth, the longer"
    )
    binding_ceiling: str = Field(
        description="host, or the ceiling that binds most of the device time"
    )


class StageMetrics(Integers, StageTimes):
    """Integers of a stage, the sum of ``self`` over its modules, and its times."""

    device_time_by_ceiling_ms: dict[str, Amount] = Field(
        description="device time, by the ceiling that binds each kernel"
    )


class OperatorCategory(Record):
    """A family of operations."""

    category_id: str
    display_name: str
    description: str
    match_classes: list[str]


class OperatorMetrics(Record):
    """What one family comes to within a module."""

    category_id: str
    calls: Count = Field(description="kernels launched")
    flops_tflops: Amount = Field(description="1e12 FLOPs")
    io_tb: Amount = Field(description="terabits, 1e12 bit")
    device_time_ms: Amount
    share_of_module_flops: Share


class AnalyticModuleNode(Record):
    """A module (or several equal ones) in one pass; stages and passes group them."""

    module_id: str = Field(description="<pass>/<pattern of module paths>: stable and unique")
    name: str
    class_name: str = Field(description="PyTorch class it stands for; Group for stages and passes")
    qualified_class_name: str = Field(description="the analytic layer's class")
    torch_path: str = Field(description="pattern of module paths; empty for a group")
    instances: Count = Field(description="modules of the model that it stands for")
    stage: Stage
    parent_id: str | None
    children: list[str]
    repetition: Literal["none", "for", "parfor"]
    repetition_count: int | None
    constructor_params: dict[str, int | float | bool | list[int | float]] = Field(
        description="dimensions; [first, last] where they grow over the steps"
    )


class ModuleMetricsSnapshot(Integers):
    """What a module comes to in the workload, its children included."""

    module_id: str
    profile_id: str
    calls: Count = Field(description="calls of the module in the workload (expected, for experts)")
    total_time_ms: Amount = Field(
        description="predicted forward time: in a host-bound stage its host time, otherwise its "
        "device time; ``self`` times of all modules add up to predicted_total_time_ms"
    )
    device_time_ms: Amount = Field(description="the sum of its kernels")
    host_time_ms: Amount = Field(description="launches and waits × their cost")
    total_flops_tflops: Amount = Field(description="1e12 FLOPs, tensor and CUDA cores")
    total_io_tb: Amount = Field(description="terabits, 1e12 bit")
    memory_weights_gb: Amount = Field(description="1e9 byte")
    memory_activations_gb: Amount = Field(description="1e9 byte")
    memory_kvcache_gb: Amount = Field(description="1e9 byte")
    peak_at: str = Field(description="module and operation at which activations are most")
    share_of_model_time: Share
    device_time_by_ceiling_ms: dict[str, Amount]
    self_: Integers = Field(alias="self", description="the same integers without children")
    self_total_time_ms: Amount
    self_device_time_ms: Amount
    self_host_time_ms: Amount
    operator_breakdown: list[OperatorMetrics]


class LayerMetrics(Integers):
    """A module class: the sum of ``self`` over all its modules and passes."""

    class_name: str
    instances: Count
    num_parameters: Count
    calls: Count
    total_time_ms: Amount = Field(description="as of a module, without children")
    device_time_ms: Amount
    host_time_ms: Amount
    device_time_by_ceiling_ms: dict[str, Amount]


class DeepSeekOCRModelSpec(Record):
    """The model."""

    model_id: str
    model_variant: str
    hf_revision: str | None
    config_path: str
    hidden_size: Count
    intermediate_size: Count
    num_layers: Count
    num_attention_heads: Count
    vision_backbone: Literal["sam_vit_b", "clip_vit_l", "other"]
    uses_moe: bool
    num_parameters: Count
    notes: str
    architecture: str | None = Field(
        None, description="whose formulas they are; absent before 1.2: DeepseekOCRForCausalLM"
    )
    dimensions: Dimensions | None = Field(
        None, description="all that the formulas need of the model; absent before 1.1"
    )
    storage: Storage = Field(
        Storage(), description="how the checkpoint stores its weights; absent: bfloat16"
    )
    unused_keys: list[str] = Field([], description="keys of config.json that no formula uses")


class OCRWorkloadProfile(Record):
    """The workload, resolved."""

    profile_id: str
    description: str
    seq_len: Count = Field(description="tokens of a prompt, image tokens included")
    base_size: Count = Field(description="px")
    image_size: Count = Field(description="px")
    crop_mode: bool
    text_only: bool = Field(False, description="whether there is no image; then sizes are 0")
    max_tiles: Count | None = Field(None, description="the engine's limit; null: the model's")
    max_new_tokens: Count
    doc_kind: keys.DocKind
    num_pages: Count
    page_size: list[int] | None = Field(description="width, height in px")
    crop_grid: list[int] = Field(description="local views per row, per column; [1, 1] for none")
    image_tokens: Count
    text_tokens: Count
    batch_size: Count
    pages_per_prompt: Count = 1
    logits_positions: keys.LogitsPositions
    host_mode: keys.HostMode
    vision_batching: keys.VisionBatching
    precision_mode: keys.PrecisionMode
    weight_dtype: str
    activation_dtype: str
    kv_dtype: str
    traffic: keys.Traffic
    expert_load: list[float] | None
    engine: keys.Engine = Field("transformers", description="what runs the model")
    serving: EngineSettings | None = Field(
        None, description="settings of the engine; null: the defaults"
    )


class Latency(Record):
    """What a user waits for, and what a GPU gets done, by the estimate."""

    ttft_ms: Amount = Field(
        description="time to first token: vision, projector and prefill of one batch"
    )
    tpot_first_ms: Amount | None = Field(description="time per output token, first decode step")
    tpot_middle_ms: Amount | None
    tpot_last_ms: Amount | None
    tokens_per_s: Amount | None = Field(description="batch over the middle step's time")
    pages_per_s: Amount = Field(description="pages of the workload over its predicted time")
    pages_per_day: Amount


class ServingPoint(Record):
    """A decode step of some batch size."""

    batch: Count = Field(description="sequences at once")
    tpot_ms: Amount = Field(description="estimate of the step: the longer of device and host")
    device_time_ms: Amount
    host_time_ms: Amount
    tokens_per_s: Amount
    memory_bytes: Count = Field(
        description="of the stage that needs most, vision and prefill of the batch included"
    )


class Serving(Record):
    """Decode with many sequences at once, up to the memory wall."""

    context: Count = Field(description="positions in the cache: the workload's middle step")
    limit: Count = Field(description="largest batch size that was evaluated")
    largest_batch: int | None = Field(description="that fits the GPU; null if none does")
    points: list[ServingPoint]
    critical_batches: dict[str, int | None] = Field(
        description="by module_id: the first batch whose products take as long as its bytes, "
        "null if none"
    )


class StageMemory(Record):
    """What is in memory in a stage when it has most."""

    weight_bytes: Count = Field(description="all of the model's")
    kvcache_bytes: Count = Field(description="of every sequence of the batch, at the last step")
    waiting_bytes: Count = Field(description="image tokens of the batch that wait for the prefill")
    activation_bytes: Count = Field(description="at their peak")
    total_bytes: Count
    peak_at: str = Field(description="module and operation at which activations are most")


class Memory(Record):
    """The footprint of the workload."""

    stages: dict[Literal["vision", "projector", "prefill", "decode"], StageMemory]
    footprint_bytes: Count = Field(description="of the stage that needs most")
    largest_stage: Stage
    room_bytes: Count = Field(description="the GPU's memory, less what CUDA keeps of it")
    fits: bool = Field(description="whether the footprint is within that room")


class DistinctExperts(Record):
    """How many experts of a layer a pass touches."""

    expected: Amount = Field(description="each token chooses independently of the others")
    fewest: Count = Field(description="all tokens choose the same")
    most: Count = Field(description="no two tokens choose the same, while there are others")


class PassRun(Record):
    """Equal runs of a pass, and the shapes that they are fed."""

    stage: Stage
    calls: Count
    steps: Count
    first: dict[str, bool | int | str]
    last: dict[str, bool | int | str]
    distinct_experts: DistinctExperts | None = Field(
        description="experts of a layer that get any token in the first step; null without experts"
    )


class OperatorCoverage(Record):
    """The traced classes against the analytic layers."""

    classes: Count
    covered: Count
    other: list[str] = Field(description="traced classes without an analytic layer")


class AnalyticModelReport(Record):
    """The whole report."""

    schema_version: Literal["2.0"]
    report_id: str = Field(description="<variant>--<workload>--<hardware>")
    generated_at: str | None = Field(description="SOURCE_DATE_EPOCH in ISO 8601, or null")
    model: DeepSeekOCRModelSpec
    workload: OCRWorkloadProfile
    hardware: Hardware
    passes: list[PassRun]
    stages: dict[Literal["vision", "projector", "prefill", "decode"], StageMetrics]
    layers: list[LayerMetrics]
    modules: list[AnalyticModuleNode]
    operator_categories: list[OperatorCategory]
    module_metrics: list[ModuleMetricsSnapshot]
    operator_coverage: OperatorCoverage | None
    profile_run_id: str | None
    predicted_total_time_ms: Amount = Field(description="estimate: the sum over the stages")
    device_time_error: Amount = Field(
        description="relative error that nine of ten device times of eager stages, without the "
        "projector, are expected to stay below"
    )
    floor_total_time_ms: Amount = Field(
        description="minimum time: one token per step, weights as given, peak rates"
    )
    latency: Latency
    serving: Serving | None = Field(description="null where nothing is decoded")
    memory: Memory
    measured_total_time_ms: Amount | None
    predicted_vs_measured_ratio: Amount | None
    notes: str
    warnings: list[str] = Field(
        [], description="what of the inputs is not modelled or not used, in sentences"
    )
    not_modelled: list[str]
    layer_docs_dir: str

    def node(self, module_id: str) -> AnalyticModuleNode:
        return next(m for m in self.modules if m.module_id == module_id)

    def metrics(self, module_id: str) -> ModuleMetricsSnapshot:
        return next(m for m in self.module_metrics if m.module_id == module_id)


class AnalyticModuleSummary(Record):
    """A module in one line."""

    module_id: str
    name: str
    stage: Stage
    share_of_model_time: Share
    total_time_ms: Amount
    total_flops_tflops: Amount
    memory_activations_gb: Amount


class DeepSeekOCRAnalyticReportSummary(Record):
    """The report in short."""

    report_id: str
    model_variant: str
    workload_profile_id: str
    hardware_id: str
    predicted_total_time_ms: Amount
    floor_total_time_ms: Amount
    measured_total_time_ms: Amount | None
    predicted_vs_measured_ratio: Amount | None
    stages: dict[Stage, StageTimes]
    latency: Latency
    footprint_bytes: Count = Field(description="of the stage that needs most memory")
    largest_batch: int | None = Field(description="pages at once that fit the GPU; null if none")
    top_modules: list[AnalyticModuleSummary]
    notes: str
