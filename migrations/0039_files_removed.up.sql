-- Files of entries that were cancelled before they ran are kept for a week, and then removed.

-- When its files were removed; null: they are there.
alter table submission add column files_removed_at timestamptz;

create index evaluation_never_ran on evaluation (submission_id) where state = 'cancelled' and started_at is null;
-- Who else has these bytes.
create index submission_same_results on submission (results_sha256);
