drop table invitation;
drop table participant;
alter table challenge drop column join_policy, drop column terms, drop column max_members;
