/* asyncore: Python's asyncore programming model on libevent. Everything that is public. */
#ifndef ASYNCORE_ASYNCORE_H
#define ASYNCORE_ASYNCORE_H

#include <asyncore/attach.h>
#include <asyncore/call_later.h>
#include <asyncore/chat.h>
#include <asyncore/class.h>
#include <asyncore/dispatcher.h>
#include <asyncore/dispatcher_with_send.h>
#include <asyncore/error.h>
#include <asyncore/file_dispatcher.h>
#include <asyncore/loop.h>
#include <asyncore/map.h>
#include <asyncore/producer.h>
#include <asyncore/socket.h>
#include <asyncore/thread.h>

#endif
