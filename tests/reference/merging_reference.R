# Writes the data sets of Baudry et al. (2010) and how mclust merges components. Run in this folder:
#
#   Rscript merging_reference.R
#
# It needs R with the packages mclust (the values kept here are those of 6.0.0) and jsonlite; the
# tests need neither.

suppressPackageStartupMessages(library(mclust))
library(jsonlite)

data(Baudry_etal_2010_JCGS_examples)

simulated <- list(
  baudry_4_1 = ex4.1, baudry_4_2 = ex4.2, baudry_4_3 = ex4.3,
  baudry_4_4_1 = ex4.4.1, baudry_4_4_2 = ex4.4.2
)
features <- function(name) {
  table <- read.csv(paste0(name, ".csv"))
  as.matrix(table[setdiff(names(table), "class")])
}

rows_of <- function(matrix) unname(lapply(seq_len(nrow(matrix)), function(i) matrix[i, ]))

for (name in names(simulated)) {
  x <- as.matrix(simulated[[name]])
  colnames(x) <- paste0("x", seq_len(ncol(x)))
  write.csv(x, paste0(name, ".csv"), row.names = FALSE, quote = FALSE)
}

values <- lapply(
  c(setNames(nm = names(simulated)), setNames(nm = c("faithful", "iris", "diabetes", "banknote"))),
  function(name) {
    x <- features(name)
    dimnames(x) <- NULL
    # The smallest number of components of which merging has something to say.
    fit <- Mclust(x, verbose = FALSE)
    if (fit$G < 4) fit <- Mclust(x, G = 6, verbose = FALSE)
    # Those kept in the fit are of the parameters before the last M-step.
    fit$z <- predict(fit)$z
    merged <- clustCombi(fit)
    # Composed, these matrices say which cluster each component is in when there are so many.
    composed <- vector("list", fit$G)
    composed[[fit$G]] <- merged$combiM[[fit$G]]
    for (n in rev(seq_len(fit$G - 1))) composed[[n]] <- merged$combiM[[n]] %*% composed[[n + 1]]
    list(
      model = fit$modelName,
      weights = as.vector(fit$parameters$pro),
      means = rows_of(unname(t(fit$parameters$mean))),
      covariances = lapply(
        seq_len(fit$G), function(k) rows_of(unname(fit$parameters$variance$sigma[, , k]))
      ),
      entropies = sapply(merged$combiz, function(z) -sum(ifelse(z > 0, z * log(z), 0))),
      clusters = lapply(composed, function(m) I(apply(m, 2, which.max))),
      elbow = clustCombiOptim(merged)$numClusters.combi
    )
  }
)
json <- toJSON(
  c(list(mclust = as.character(packageVersion("mclust"))), values),
  digits = NA, auto_unbox = TRUE
)
writeLines(gsub(",\"", ",\n\"", json), "merging.json")
