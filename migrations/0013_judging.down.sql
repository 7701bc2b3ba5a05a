alter table submission drop column verified_by, drop column verified_at;
alter table protocol drop column measuring_sha256;
drop function protocol_measuring_sha256;
