drop table dataset_sample;
drop table dataset_build;
alter table dataset drop column challenge_id;
