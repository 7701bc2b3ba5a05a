-- A dataset's LR images as one zip are kept beside its sample submission, so that a download is a file.

alter table dataset_sample
    -- lr: its LR images; sample: a results zip of bicubic images.
    add column kind text not null default 'sample' check (kind in ('lr', 'sample')),
    drop constraint dataset_sample_pkey,
    add primary key (dataset_id, kind);
alter table dataset_sample alter column kind drop default;
