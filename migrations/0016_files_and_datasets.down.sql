alter table evaluation drop column dataset_id;
-- Before, a name was one dataset.
update dataset set name = name || '.' || version where version > 1;
alter table dataset
    drop constraint dataset_version_key,
    drop constraint dataset_name_is_plain,
    drop column version,
    drop column sha256,
    add constraint dataset_name_key unique (name);
drop table challenge_page;
