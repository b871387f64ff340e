/* What is to be said of an image that was decoded. */
#ifndef DG_RUNTIME_IMAGE_NOTES_H
#define DG_RUNTIME_IMAGE_NOTES_H

/* What is right by Pillow, but hardly what one expects of the image. */
enum dg_image_note {
    DG_NOTE_CLIPPED = 1, /* gray of more than 8 bits: what is above 255 became white */
    DG_NOTE_DAMAGED = 2, /* the file is damaged, and some pixels are not those of the picture, or may not be */
    DG_NOTE_TURNED = 4,  /* EXIF says that the image is to be shown turned, and it was not turned */
    DG_NOTE_FRAMES = 8,  /* it is the first of several pictures in the file */
};
enum { DG_IMAGE_NOTES = 4 };

#endif
