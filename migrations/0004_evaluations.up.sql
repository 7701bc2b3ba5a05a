-- The queue and its results. An evaluation is one measurement of one submission; a re-run is a new row, so that history
-- stays. Leases use this database's now() only, so that a worker's clock cannot matter.

create table evaluation (
    id            uuid primary key,
    submission_id uuid not null references submission,
    -- The submission's, repeated so that a claim can be fair between teams without a join.
    team_id       uuid not null references team,
    -- The rules in force when it was queued.
    protocol_id   uuid not null references protocol,
    -- Which workers may take it: cpu or cuda, from the protocol.
    device_class  text not null check (device_class in ('cpu', 'cuda')),
    -- 1 for the first evaluation of the submission, 2 for its first re-run …
    number        integer not null check (number > 0),
    state         text not null default 'queued' check (state in ('queued', 'running', 'scored', 'failed', 'cancelled')),
    -- Higher goes first.
    priority      smallint not null default 0,
    -- Raised when claimed, so that a job that kills its worker counts each time.
    attempt       integer not null default 0,
    -- Not claimed earlier: a pause after a fault of ours.
    not_before    timestamptz not null default now(),
    -- The fence: a result is taken only from the holder of this token.
    lease_token   uuid,
    -- Past it, any worker may put the row back in the queue.
    lease_until   timestamptz,
    -- Host, process and device of the last worker that claimed it.
    worker        text,
    cancel_requested boolean not null default false,
    -- Live progress: evaluation::Step, and how much of it is done.
    step          text check (step in ('scoring', 'counting', 'reproducing', 'timing')),
    step_done     integer not null default 0,
    step_total    integer not null default 0,
    -- Why it failed: an array of problem::Problem.
    problems      jsonb not null default '[]' check (jsonb_typeof(problems) = 'array'),
    -- Whose a failure is. team: costs an attempt; ours: costs nothing.
    fault         text check (fault in ('team', 'ours')),
    created_at    timestamptz not null default now(),
    -- Of the last attempt.
    started_at    timestamptz,
    finished_at   timestamptz,
    unique (submission_id, number),
    check ((state = 'running') = (lease_token is not null)),
    check ((lease_token is null) = (lease_until is null)),
    check ((state in ('scored', 'failed', 'cancelled')) = (finished_at is not null)),
    check ((state = 'failed') = (fault is not null))
);
-- One live evaluation of a submission.
create unique index evaluation_one_live on evaluation (submission_id) where state in ('queued', 'running');
create index evaluation_ready on evaluation (priority desc, created_at) where state = 'queued';
create index evaluation_lease on evaluation (lease_until) where state = 'running';
create index evaluation_team_running on evaluation (team_id) where state = 'running';
create index evaluation_team_started on evaluation (team_id, started_at desc nulls last);

-- Every figure of one scored evaluation (evaluation::Measurement). The ranked query reads the columns.
create table score (
    evaluation_id uuid primary key references evaluation,
    -- Uploaded images against the hidden HR, mean over images: dB (an infinite one counts as 100), and SSIM.
    psnr          double precision not null check (psnr >= 0 and psnr <= 100),
    ssim          double precision not null check (ssim >= -1 and ssim <= 1),
    -- Cost at cost_input (NCHW).
    cost_input    jsonb not null,
    cost_scale    integer not null,
    params        bigint not null,
    convs         bigint not null,
    activations   bigint not null,
    flops_kair    bigint not null,
    flops_fvcore  bigint not null,
    macs          bigint not null,
    -- Per operator kind: evaluation::OperatorCost.
    operators     jsonb not null,
    -- Forward pass, batch 1, ms per image.
    runtime_device  text not null,
    runtime_input   text not null,
    runtime_threads integer not null,
    runtime_ms      double precision not null check (runtime_ms > 0 and runtime_ms < 'Infinity'),
    runtime_ci_low  double precision not null,
    runtime_ci_high double precision not null,
    runtime_runs    integer not null,
    runtime_samples jsonb not null,
    -- The baseline beside it, in the same process; null: the phase has none.
    baseline_ms     double precision,
    ratio           double precision check (ratio > 0 and ratio < 'Infinity'),
    ratio_ci_low    double precision,
    ratio_ci_high   double precision,
    baseline_samples jsonb,
    memory_bytes    bigint not null,
    memory_method   text not null,
    baseline_memory_bytes bigint,
    -- Whether the uploaded model makes the uploaded images.
    verdict            text not null check (verdict in ('reproduced', 'within-rounding', 'differs')),
    max_abs            smallint not null,
    identical_fraction double precision not null,
    input_range        integer not null,
    -- Of the model's own outputs, dB.
    model_psnr         double precision,
    reproduction_images jsonb not null,
    -- What it was measured with: evaluation::Provenance.
    provenance      jsonb not null,
    check ((baseline_ms is null) = (ratio is null)),
    check ((ratio is null) = (ratio_ci_low is null) and (ratio is null) = (ratio_ci_high is null)),
    check ((ratio is null) = (baseline_samples is null))
);

create table image_score (
    evaluation_id uuid not null references score on delete cascade,
    name          text not null,
    -- dB; 'Infinity' where the image equals its reference.
    psnr          double precision not null check (psnr <> 'NaN'),
    ssim          double precision not null check (ssim <> 'NaN'),
    primary key (evaluation_id, name)
);

-- Wake-ups. `queue` tells workers that there is work; `evaluation` tells pages what changed, as JSON. Both are hints: the
-- rows are the truth.
create function evaluation_notify() returns trigger language plpgsql as $$
begin
    if new.state = 'queued' then
        perform pg_notify('queue', new.device_class);
    end if;
    perform pg_notify('evaluation', json_build_object(
        'submission', new.submission_id, 'evaluation', new.id, 'state', new.state,
        'step', new.step, 'done', new.step_done, 'total', new.step_total)::text);
    return null;
end $$;
create trigger evaluation_inserted after insert on evaluation
    for each row execute function evaluation_notify();
create trigger evaluation_changed after update on evaluation
    for each row when ((old.state, old.step, old.step_done, old.step_total, old.attempt)
        is distinct from (new.state, new.step, new.step_done, new.step_total, new.attempt))
    execute function evaluation_notify();
