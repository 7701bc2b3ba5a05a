-- Whose images the figures of psnr, ssim and image_score are of: the uploaded ones, or those that the model made here.
alter table score add column ranked_images text not null default 'uploaded'
    check (ranked_images in ('uploaded', 'model'));
-- PSNR of the uploaded images whichever rank, dB.
alter table score add column uploaded_psnr double precision;
update score set uploaded_psnr = psnr;
