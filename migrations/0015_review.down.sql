drop index audit_object;
drop table near_output;
drop table fingerprint;
drop table objection;
-- What was measured by a re-run that nobody made official would count without the column.
delete from image_score where evaluation_id in (select id from evaluation where not official);
delete from score where evaluation_id in (select id from evaluation where not official);
delete from evaluation where not official;
alter table evaluation drop constraint evaluation_rerun_waits, drop column rerun_id, drop column official;
drop table rerun;
