-- Figures of the model's own images have no place any more; the uploaded ones' PSNR stands in for theirs.
update score set psnr = uploaded_psnr where ranked_images = 'model' and uploaded_psnr is not null;
alter table score drop column ranked_images, drop column uploaded_psnr;
