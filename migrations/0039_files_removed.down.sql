drop index submission_same_results;
drop index evaluation_never_ran;
alter table submission drop column files_removed_at;
