/* mbedTLS for libedc: see tls_mbedtls.c. */
#ifndef TLS_MBEDTLS_H
#define TLS_MBEDTLS_H

#include <easydarwin_camera.h>

typedef struct mbedtls_library mbedtls_library;

/* The authorities (PEM) in `ca_file` are believed, nobody else. NULL when that fails. */
mbedtls_library *mbedtls_library_new(const char *ca_file);

/* Makes cameras that are started with this configuration speak TLS through it. One library for each camera, for its
 * generator of random numbers is used by one thread. */
int32_t mbedtls_library_use(mbedtls_library *library, edc_config *config);

/* After edc_destroy(). */
void mbedtls_library_free(mbedtls_library *library);

#endif
