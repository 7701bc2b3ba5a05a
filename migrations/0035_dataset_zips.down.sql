delete from dataset_sample where kind <> 'sample';
alter table dataset_sample
    drop constraint dataset_sample_pkey,
    drop column kind,
    add primary key (dataset_id);
