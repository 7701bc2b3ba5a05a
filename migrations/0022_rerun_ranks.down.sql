alter table rerun drop column ranks;
