/* The guest link: frames over the virtio-serial port. What is queued is bounded: bulk sources rest while it is congested. */
#ifndef HN_LINK_H
#define HN_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

struct request {
	uint8_t type;
	uint32_t id;
	uint8_t *bytes; /* the handler may keep it by setting this to NULL */
	size_t length;
};

/* A growing list of fields. */
struct message {
	uint8_t *bytes;
	size_t length, room;
};

void link_open(void);
bool link_synced(void);
bool link_congested(void);
void link_send(uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t length);
/* The same without a copy: the FRAME_HEADER bytes before `payload` are written to. */
void link_send_in_place(uint8_t type, uint8_t flags, uint32_t id, uint8_t *payload, size_t length);

void message_bytes(struct message *, uint16_t tag, const void *, size_t);
void message_string(struct message *, uint16_t tag, const char *);
void message_number(struct message *, uint16_t tag, uint64_t);

/* Ends a request; each must be ended once. The message's memory is freed. */
void reply(uint32_t id, struct message *);
void reply_ok(uint32_t id);
void reply_error(uint32_t id, const char *reason, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* main.c: what arrives. */
void dispatch_request(struct request *);
void dispatch_frame(const struct frame *);
void dispatch_hello(void);
void dispatch_drained(void);

#endif
