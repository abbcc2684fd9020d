share: share.c hp.h
hp.h:
