alter table score
    -- The machine never got quiet while this was timed: disturbed blocks count too.
    add column runtime_noisy boolean not null default false,
    -- How the timing was done, with every raw sample: evaluation::TimingRecord. Empty for scores older than it.
    add column timing_record jsonb not null default '{}',
    -- What the GPU's driver counted for the whole process; null on CPU and where it does not tell.
    add column process_bytes bigint,
    add column baseline_process_bytes bigint;

alter table submission
    -- An organizer has decided about this entry: it is not held automatically again.
    add column organizer_decided boolean not null default false;
update submission set organizer_decided = true where organizer_status <> 'none';
