-- Reviewing entries: re-runs that wait for an organizer's word, objections, and what tells copies from originals.

-- Evaluations that an organizer asked for a second time, together: a batch.
create table rerun (
    -- UUIDv7: sorts by time.
    id              uuid primary key,
    phase_id        uuid not null references phase,
    -- Who asked for it: null where the account is gone, or from the shell; the name at the time stays.
    asked_by        uuid references account on delete set null,
    asked_by_name   text not null,
    -- Why, in the organizer's words.
    reason          text not null check (length(reason) between 1 and 2000),
    created_at      timestamptz not null default now(),
    -- official: its scored evaluations count; discarded: none does. Null: not decided yet.
    decision        text check (decision in ('official', 'discarded')),
    decision_reason text,
    decided_by_name text,
    decided_at      timestamptz,
    check ((decision is null) = (decided_at is null)),
    check ((decision is null) = (decided_by_name is null)),
    check ((decision is null) = (decision_reason is null))
);
create index rerun_phase on rerun (phase_id, id desc);

alter table evaluation
    -- Counts on boards, for states and quotas: of a submission the newest official one does. Re-runs are not official until
    -- an organizer makes them so; all that was measured before there were such re-runs is.
    add column official boolean not null default true,
    -- The batch of a re-run.
    add column rerun_id uuid references rerun,
    add constraint evaluation_rerun_waits check (official or rerun_id is not null);
create index evaluation_rerun on evaluation (rerun_id) where rerun_id is not null;

-- What a team holds against a mark on its entry or against its score.
create table objection (
    -- UUIDv7: sorts by time.
    id              uuid primary key,
    submission_id   uuid not null references submission,
    -- Who wrote it; null where the account is gone.
    account_id      uuid references account on delete set null,
    text            text not null check (length(text) between 1 and 5000),
    created_at      timestamptz not null default now(),
    -- What an organizer answered, shown to the team. An answer closes it.
    answer          text check (length(answer) between 1 and 5000),
    answered_by_name text,
    closed_at       timestamptz,
    check ((closed_at is null) = (answer is null)),
    check ((closed_at is null) = (answered_by_name is null))
);
create unique index objection_one_open on objection (submission_id) where closed_at is null;
create index objection_submission on objection (submission_id, id);

-- What is the same in copies of an entry. Made when it comes in, or when an organizer first looks.
create table fingerprint (
    submission_id  uuid primary key references submission on delete cascade,
    -- Of the method; rows of an older one are made anew.
    version        smallint not null,
    -- Over the sorted hashes of the model's weights, names and shapes apart; null: it has none.
    weights_sha256 text check (weights_sha256 ~ '^[0-9a-f]{64}$'),
    -- Over the structure of the operators, without names and weights.
    graph_sha256   text not null check (graph_sha256 ~ '^[0-9a-f]{64}$'),
    -- Over the decoded pixels of the uploaded images.
    outputs_sha256 text not null check (outputs_sha256 ~ '^[0-9a-f]{64}$'),
    -- Samples of the uploaded images at places that are the same for every entry of a dataset.
    samples        bytea not null,
    -- Its samples were compared with those of the other teams' entries.
    compared       boolean not null default false
);
create index fingerprint_weights on fingerprint (weights_sha256);
create index fingerprint_graph on fingerprint (graph_sha256);
create index fingerprint_outputs on fingerprint (outputs_sha256);
create index fingerprint_new on fingerprint (submission_id) where not compared;

-- Entries of two teams whose uploaded images are nearly the same.
create table near_output (
    -- The one that came first.
    first_id  uuid not null references submission on delete cascade,
    second_id uuid not null references submission on delete cascade,
    -- Between the two, dB, over the samples; 'Infinity': these are equal.
    psnr      double precision not null check (psnr <> 'NaN'),
    primary key (first_id, second_id),
    check (first_id < second_id)
);
create index near_output_second on near_output (second_id);

-- The history of one object.
create index audit_object on audit (object, id desc);
