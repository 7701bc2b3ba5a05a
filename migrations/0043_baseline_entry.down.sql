-- What the server made goes: no row of before could hold it. Marks, fingerprints and uploads go with the entry.
update phase set baseline_submission_id = null
    where baseline_submission_id in (select id from submission where own_images);
update phase_rules set baseline_submission_id = null
    where baseline_submission_id in (select id from submission where own_images);
create temporary table gone on commit drop as
    select e.id from evaluation e join submission s on s.id = e.submission_id where s.own_images;
delete from score where evaluation_id in (select id from gone);
delete from evaluation where id in (select id from gone);
delete from objection where submission_id in (select id from submission where own_images);
update submission set carried_from = null where carried_from in (select id from submission where own_images);
delete from submission where own_images;
delete from team where of_organizers;
-- No table is altered while its deferred triggers wait.
set constraints all immediate;
alter table submission drop constraint submission_of_somebody, alter column account_id set not null, drop column own_images;
drop index team_of_organizers;
alter table team drop column of_organizers;
